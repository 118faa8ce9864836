import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isTest } from '../checks/imports.ts';
import { stripModule } from './strip.ts';

const packedFolders = ['api', 'cli', 'client', 'console', 'server'];

/**
 * Writes the folder `dist` of the package: every module as JavaScript, every other file (schemas,
 * rules, pages) as it is, tests left out. Node runs no TypeScript under node_modules.
 * @returns how many files were written
 */
export function buildDistribution(root: string, destination = join(root, 'dist')): number {
  rmSync(destination, { recursive: true, force: true });
  mkdirSync(destination, { recursive: true });
  // `bin/` is there as it is; the service loads one module of it from below `dist`.
  const files = globSync([`{${packedFolders.join(',')}}/**/*`, 'bin/runtime.mjs'], {
    cwd: root,
    withFileTypes: true,
  })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((file) => !isTest(file))
    .sort();
  for (const file of files) {
    const target = join(destination, file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    if (!file.endsWith('.ts')) cpSync(join(root, file), target);
    else writeFileSync(target, stripModule(readFileSync(join(root, file), 'utf8'), file));
  }
  // Modules find the version by the path that leads to package.json in a clone.
  const { name, version, type } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(destination, 'package.json'), `${JSON.stringify({ name, version, type })}\n`);
  return files.length + 1;
}
