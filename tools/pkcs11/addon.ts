import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const packageName = 'pkcs11js';
/** What node-gyp runs; the C++ compiler has no other name on Debian, macOS and the BSDs. */
const neededPrograms = ['c++', 'make', 'python3'];
const buildTimeoutMilliseconds = 5 * 60_000;
const lockWaitMilliseconds = 250;

export type BuildResult =
  | { readonly ok: true; readonly isNew: boolean }
  | { readonly ok: false; readonly reason: string; readonly hint: string };

/** The folder of the package in `root`; undefined where npm has left it out. */
export function addonFolder(root: string): string | undefined {
  try {
    const require = createRequire(join(root, 'package.json'));
    return dirname(require.resolve(`${packageName}/package.json`));
  } catch {
    return undefined;
  }
}

/** Whether the addon is built and can be loaded by this Node. */
export function isAddonBuilt(root: string): boolean {
  const folder = addonFolder(root);
  if (folder === undefined || !existsSync(join(folder, 'build', 'Release', 'pkcs11.node'))) {
    return false;
  }
  try {
    createRequire(join(root, 'package.json'))(packageName);
    return true;
  } catch {
    return false;
  }
}

/**
 * Builds the addon, unless it is built: once, whoever asks, with the headers that came with Node and
 * without any download. Never throws: without it everything but `pkcs11:` keystores works.
 */
export function buildAddon(root: string): BuildResult {
  if (isAddonBuilt(root)) return { ok: true, isNew: false };
  const folder = addonFolder(root);
  if (folder === undefined) {
    return {
      ok: false,
      reason: `the package ${packageName} is not installed`,
      hint: 'install the optional packages: npm ci --ignore-scripts --include=optional',
    };
  }
  const headers = dirname(dirname(process.execPath));
  if (!existsSync(join(headers, 'include', 'node', 'node_api.h'))) {
    return {
      ok: false,
      reason: `the headers of Node are not in ${join(headers, 'include', 'node')}`,
      hint: 'run it with the Node that npm installed (npm run build:pkcs11), or install its headers',
    };
  }
  const missing = neededPrograms.filter((name) => !canRun(name));
  if (missing.length > 0) {
    return {
      ok: false,
      reason: `these programs are missing: ${missing.join(', ')}`,
      hint: 'install a compiler: "apt-get install g++ make python3" on Debian and Ubuntu',
    };
  }
  return withLock(join(folder, '.build-lock'), () => compile(root, headers));
}

function compile(root: string, headers: string): BuildResult {
  // Another process may have built it while this one waited.
  if (isAddonBuilt(root)) return { ok: true, isNew: false };
  // npm's own settings may forbid scripts: this one is asked for by name.
  const parameters = ['rebuild', packageName, '--ignore-scripts=false', '--foreground-scripts'];
  const npm = process.env.npm_execpath;
  const isKnown = npm !== undefined && /npm-cli\.[cm]?js$/.test(npm);
  const node = process.env.npm_node_execpath ?? process.execPath;
  const ran = spawnSync(isKnown ? node : 'npm', isKnown ? [npm, ...parameters] : parameters, {
    cwd: root,
    encoding: 'utf8',
    timeout: buildTimeoutMilliseconds,
    env: { ...process.env, npm_config_nodedir: headers, npm_config_loglevel: 'error' },
  });
  if (isAddonBuilt(root)) return { ok: true, isNew: true };
  const output = `${ran.stdout ?? ''}${ran.stderr ?? ''}`.trim().split('\n').slice(-20).join('\n');
  return {
    ok: false,
    reason: `the build failed (${ran.error?.message ?? ran.status}):\n${output}`,
    hint: 'see the messages of the compiler above',
  };
}

function canRun(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** A folder is the lock: making one succeeds for one process only. A very old one was left behind. */
function withLock(path: string, work: () => BuildResult): BuildResult {
  for (;;) {
    try {
      mkdirSync(path);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        const reason = error instanceof Error ? error.message : String(error);
        return { ok: false, reason, hint: 'run it as the user who owns the installation' };
      }
      if (isOld(path)) rmSync(path, { recursive: true, force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lockWaitMilliseconds);
    }
  }
  try {
    return work();
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

function isOld(path: string): boolean {
  const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  return made !== undefined && Date.now() - made > buildTimeoutMilliseconds;
}
