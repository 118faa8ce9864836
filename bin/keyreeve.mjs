#!/usr/bin/env node
// The command `keyreeve`, for any Node from 20 on: it goes on with the Node 26 that npm installed.
import { existsSync } from 'node:fs';
import * as module from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  become,
  chooseNode,
  compileCacheFolder,
  fail,
  minimumNodeMajor,
  nodeMajor,
  pinnedNode,
} from './runtime.mjs';

const self = fileURLToPath(import.meta.url);
const root = dirname(dirname(self));
const source = join(root, 'cli', 'keyreeve.ts');
const fromClone = existsSync(source);
const args = process.argv.slice(2);
// Without the flag anyone who may signal the service could open a debugger in it.
const serviceFlags = args[0] === 'serve' ? ['--disable-sigusr1'] : [];

if (fromClone && !existsSync(join(root, 'node_modules'))) {
  fail('the packages that Keyreeve needs are not installed', `run "npm ci" in ${root}`);
}
if (
  nodeMajor(process.version) >= minimumNodeMajor &&
  serviceFlags.every((flag) => process.execArgv.includes(flag))
) {
  const folder = compileCacheFolder();
  if (folder !== undefined) module.enableCompileCache?.(folder);
  const entry = fromClone ? source : join(root, 'dist', 'cli', 'keyreeve.js');
  await import(pathToFileURL(entry).href);
} else {
  const node = chooseNode(pinnedNode(root));
  if (node === undefined) {
    fail(
      `Node ${minimumNodeMajor} is needed and this is ${process.version}`,
      `run "npm ci" in ${root}, which brings it for most systems, or install it`,
    );
  }
  become(node, [...serviceFlags, self, ...args]);
}
