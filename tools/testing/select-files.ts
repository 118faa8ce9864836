import { existsSync, globSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

const testedFolders = ['server', 'api', 'cli', 'client', 'bench', 'deploy', 'test', 'tools'];

export interface Selection {
  /** The clone. */
  readonly root: string;
  /** Files, folders or words as the person typed them; empty for all. */
  readonly wanted: readonly string[];
  /** Whether `*.long.test.ts` belong to it. A file that is named always does. */
  readonly long: boolean;
}

/**
 * The test files that are meant, relative to the root: those that start services first, so that none of
 * them is left alone at the end. A word that is no path names a
 * folder under server/ (`keys`), else a part of file paths.
 * @throws Error naming a word that selects nothing
 */
export function selectTestFiles({ root, wanted, long }: Selection): string[] {
  const all = globSync(`{${testedFolders.join(',')}}/**/*.test.ts`, {
    cwd: root,
    exclude: (path) => path.split('/').includes('node_modules'),
  }).sort(slowFirst);
  const usual = all.filter((file) => long || !file.endsWith('.long.test.ts'));
  if (wanted.length === 0) return usual;
  const chosen = wanted.flatMap((word) => {
    const found = selectByWord(word, root, all, usual);
    if (found.length === 0)
      throw new Error(`"${word}" names no test file and no folder with tests`);
    return found;
  });
  return [...new Set(chosen)].sort(slowFirst);
}

function selectByWord(word: string, root: string, all: string[], usual: string[]): string[] {
  const path = relative(root, resolve(root, word));
  if (all.includes(path)) return [path];
  for (const folder of [path, join('server', path)]) {
    const full = join(root, folder);
    if (existsSync(full) && statSync(full).isDirectory()) {
      return usual.filter((file) => folder === '' || file.startsWith(`${folder}/`));
    }
  }
  return usual.filter((file) => file.includes(word));
}

const slowFolder = 'test/integration/';

function slowFirst(one: string, other: string): number {
  const order = Number(other.startsWith(slowFolder)) - Number(one.startsWith(slowFolder));
  return order !== 0 ? order : one < other ? -1 : 1;
}
