import { dirname } from 'node:path';
import { allImports, type Import, isTest } from './imports.ts';
import { furtherEntries, layers, openFolders, outside, unbound } from './layer-table.ts';

const rankOf = new Map(layers.flatMap((folders, rank) => folders.map((name) => [name, rank])));

/**
 * Imports that go up the layers, enter a folder past its entry, or come from a folder that the
 * table does not know. Tests may import anything.
 */
export function checkLayers(root: string): string[] {
  const findings = new Set<string>();
  for (const link of allImports(root)) {
    if (isTest(link.from) || link.to === undefined) continue;
    const finding = direction(link, link.to) ?? privacy(link, link.to);
    if (finding !== undefined) findings.add(finding);
  }
  return [...findings];
}

/** The folder of the table that a file belongs to: `server/keys`, `cli`, `server`. */
export function areaOf(file: string): string {
  const [first = '', second = '', ...rest] = file.split('/');
  return first === 'server' && rest.length > 0 ? `server/${second}` : first;
}

function direction(link: Import, to: string): string | undefined {
  const source = areaOf(link.from);
  const target = areaOf(to);
  if (source === target || unbound.includes(source)) return undefined;
  const refuse = (why: string) => `${link.from} imports ${to}: ${why}`;
  const allowed = outside[source];
  if (allowed !== undefined) {
    return allowed.includes(target) ? undefined : refuse(`${source} may not use ${target}`);
  }
  const sourceRank = rankOf.get(source);
  if (sourceRank === undefined) {
    return `${source} has no place in tools/checks/layer-table.ts`;
  }
  const targetRank = rankOf.get(target);
  if (targetRank === undefined) return refuse(`${target} is outside the layers`);
  return targetRank <= sourceRank ? undefined : refuse(`${target} is a layer above ${source}`);
}

/** A folder is entered through the file named after it, from everywhere but its own inside. */
function privacy(link: Import, to: string): string | undefined {
  const source = areaOf(link.from);
  const ownCommand = source === 'cli' && areaOf(to) === 'cli';
  if (unbound.includes(source) || ownCommand) return undefined;
  if (openFolders.includes(dirname(to)) || furtherEntries.includes(to)) return undefined;
  const folder = outermostFolderEntered(link.from, to);
  if (folder === undefined) return undefined;
  const name = folder.split('/').at(-1);
  // The named file may also stand beside its folder.
  if (to === `${folder}/${name}.ts` || link.from === `${folder}.ts`) return undefined;
  return `${link.from} imports ${to}: enter the folder through ${folder}/${name}.ts`;
}

/** The first folder on the way to `to` that `from` is not in and that is not open. */
function outermostFolderEntered(from: string, to: string): string | undefined {
  const steps = dirname(to).split('/');
  for (let length = 1; length <= steps.length; length++) {
    const folder = steps.slice(0, length).join('/');
    if (!from.startsWith(`${folder}/`) && !openFolders.includes(folder)) return folder;
  }
  return undefined;
}
