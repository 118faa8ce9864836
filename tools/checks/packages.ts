import { existsSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { allImports, isTest } from './imports.ts';
import { unbound } from './layer-table.ts';
import { areaOf } from './layers.ts';

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
}

interface LockEntry extends Manifest {
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
}

type LockEntries = Readonly<Record<string, LockEntry>>;

const reasonsFile = 'docs/decisions/dependencies.md';

/** Versions are exact, and every package has its line of reason. */
export function checkManifest(root: string): string[] {
  const manifest = readJson<Manifest>(root, 'package.json');
  const path = join(root, reasonsFile);
  const reasons = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const lines = reasons.split('\n').filter((line) => line.startsWith('| `'));
  const versions = Object.entries(allDependencies(manifest));
  const lax = versions
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `package.json: ${name} "${version}" is not one exact version`);
  const unexplained = versions
    .filter(([name]) => !lines.some((line) => line.includes(`\`${name}\``)))
    .map(([name]) => `${reasonsFile}: no line of reason for ${name}`);
  const gone = lines
    .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)])
    .map((match) => match[1]!)
    .filter((name) => !versions.some(([known]) => known === name))
    .map((name) => `${reasonsFile}: ${name} is no dependency any more`);
  return [...lax, ...unexplained, ...gone];
}

/**
 * The lock file pins content by hash, says nothing about where one machine got it from, and is
 * whole: `npm install` leaves out optional packages that it cannot find, and `npm ci` then fails.
 */
export function checkLockFile(root: string): string[] {
  const { packages } = readJson<{ packages: LockEntries }>(root, 'package-lock.json');
  return Object.entries(packages).flatMap(([path, entry]) => {
    const findings = missingFrom(packages, path, entry);
    if (path === '' || entry.link === true) return findings;
    if (entry.resolved !== undefined) {
      findings.push(`package-lock.json: ${path} names a download address`);
    }
    if (!entry.integrity?.startsWith('sha512-')) {
      findings.push(`package-lock.json: ${path} has no SHA-512 integrity hash`);
    }
    return findings;
  });
}

/** Packages are imported only where package.json declares them; those for development by tests. */
export function checkPackageImports(root: string): string[] {
  const manifest = readJson<Manifest>(root, 'package.json');
  const development = manifest.devDependencies ?? {};
  return allImports(root).flatMap(({ from, specifier, to }) => {
    if (to !== undefined || isBuiltin(specifier)) return [];
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    if (manifest.dependencies?.[name] !== undefined) return [];
    if (development[name] === undefined) {
      return [`${from} imports ${name}, which package.json does not declare`];
    }
    if (isTest(from) || unbound.includes(areaOf(from))) return [];
    return [`${from} imports ${name}, which is there for development only`];
  });
}

function missingFrom(packages: LockEntries, path: string, entry: LockEntry): string[] {
  return Object.keys(allDependencies(entry))
    .filter((name) => !foldersUp(path).some((folder) => packages[`${folder}${name}`]))
    .map((name) => `package-lock.json: ${name} is missing, which ${path || 'the project'} names`);
}

/** Where Node looks for what a package imports: its own node_modules first, the project's last. */
function foldersUp(path: string): string[] {
  const parents = path.split('node_modules/').slice(0, -1);
  const outer = parents.map((_, index) => parents.slice(0, index + 1).join('node_modules/'));
  const inner = path === '' ? '' : `${path}/`;
  return [...outer, inner].map((folder) => `${folder}node_modules/`).reverse();
}

function allDependencies(manifest: Manifest): Record<string, string> {
  return {
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.devDependencies,
  };
}

function readJson<T>(root: string, file: string): T {
  return JSON.parse(readFileSync(join(root, file), 'utf8')) as T;
}
