import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface Import {
  /** Importing file, relative to the root. */
  readonly from: string;
  /** As written: `./x.ts`, `node:fs`, `fastify`. */
  readonly specifier: string;
  /** Imported file relative to the root, for a relative specifier. */
  readonly to: string | undefined;
}

const sourceFolders = ['api', 'bench', 'bin', 'cli', 'client', 'console', 'deploy', 'server'];
const testFolders = ['test', 'tools'];

// Formatted code has import and export at the start of a line, so that text in strings and
// comments, which is indented or begins with other characters, is not taken for one.
const patterns = [
  /^import\s+(?:[^;'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm,
  /^export\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s+from\s+['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g,
  /\bnew URL\(\s*['"](\.[^'"]+\.[cm]?[jt]s)['"]\s*,\s*import\.meta\.url/g,
];

/** Every source file of the project, relative to the root, sorted. */
export function sourceFiles(root: string): string[] {
  const pattern = `{${[...sourceFolders, ...testFolders].join(',')}}/**/*.{ts,mjs}`;
  return globSync(pattern, { cwd: root, exclude: (path) => path.includes('node_modules') }).sort();
}

/** What a file imports, lazily loaded modules, types and worker files included. */
export function importsOf(root: string, file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const specifiers = patterns.flatMap((pattern) =>
    [...text.matchAll(pattern)].map((match) => match[1]!),
  );
  return [...new Set(specifiers)].map((specifier) => ({
    from: file,
    specifier,
    to: specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : undefined,
  }));
}

/** All imports of the project. */
export function allImports(root: string): Import[] {
  return sourceFiles(root).flatMap((file) => importsOf(root, file));
}

/**
 * Whether a file is a test or helps only tests: those in test/, in a folder or file called testing
 * or test-support, and those with a second dot in their name (`keys.test.ts`, `storage.fixture.ts`).
 */
export function isTest(file: string): boolean {
  return /^test\/|(^|\/)(testing|test-support)(\/|\.ts$)|\.[a-z]+\.ts$/.test(file);
}

/** Relative imports that lead to no file; those of tests show when the tests run. */
export function missingImports(root: string, imports: readonly Import[]): string[] {
  return imports
    .filter(({ from, to }) => to !== undefined && !isTest(from) && !existsSync(join(root, to)))
    .map(({ from, specifier }) => `${from} imports ${specifier}, which is not there`);
}
