// What the npm scripts call. It runs on any Node from 20 on and on a clone without node_modules:
// it installs what package-lock.json names, then goes on with the pinned Node. The scripts begin with
// exec: npm passes signals to its shell only, and the service would outlive that.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  become,
  chooseNode,
  compileCacheFolder,
  fail,
  minimumNodeMajor,
  pinnedNode,
} from '../bin/runtime.mjs';
import { ensureInstalled } from './bootstrap/install.mjs';
import { installLibrary, whyNodeFails } from './bootstrap/usable-node.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What each script runs, relative to the clone. */
const tasks = {
  start: ['--disable-sigusr1', 'server/main.ts'],
  test: ['tools/test.ts'],
  'test:long': ['tools/test.ts', '--long'],
  check: ['tools/check.ts'],
  bench: ['bench/bench.ts'],
  'build:pkcs11': ['tools/build-pkcs11.ts'],
  'generate-keys': ['cli/generate-keys.ts'],
  // Stripping types by hand is marked as experimental; running TypeScript is not.
  pack: ['--disable-warning=ExperimentalWarning', 'tools/pack.ts'],
};

const [name = '', ...rest] = process.argv.slice(2);
const task = /** @type {Record<string, string[]>} */ (tasks)[name];
if (task === undefined) {
  fail(`there is no task "${name}"`, `choose one of: ${Object.keys(tasks).join(', ')}`);
}

try {
  await ensureInstalled(root);
} catch (error) {
  fail(
    `the packages could not be installed: ${error instanceof Error ? error.message : error}`,
    'see what npm said above; "npm ci --ignore-scripts" does the same by hand',
  );
}

const node = chooseNode(pinnedNode(root));
if (node === undefined) {
  fail(
    `Node ${minimumNodeMajor} is needed, this is ${process.version}, and npm has none for ${process.platform} on ${process.arch}`,
    `install Node ${minimumNodeMajor} or newer and put it first on PATH`,
  );
}

let problem = whyNodeFails(root, node);
if (problem !== undefined && name.startsWith('test') && installLibrary()) {
  problem = whyNodeFails(root, node);
}
if (problem !== undefined) {
  fail(
    `the Node that npm installed does not run here: ${problem}`,
    'install the library that is missing: "apt-get install libatomic1" on Debian and Ubuntu',
  );
}

process.chdir(root);
const cache = process.env.NODE_COMPILE_CACHE ?? compileCacheFolder();
become(
  node,
  [...task, ...rest],
  cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: cache },
);
