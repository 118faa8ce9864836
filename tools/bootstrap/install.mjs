// Plain JavaScript for any Node from 20 on: it runs before anything is installed.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withFolderLock } from './folder-lock.mjs';

const progressSeconds = 10;

/**
 * Installs what package-lock.json names, unless node_modules has just that already. Safe to call
 * from several processes at once: one installs and the others wait.
 * @param {string} root folder that holds package.json
 * @param {(line: string) => void} say
 */
export async function ensureInstalled(root, say = (line) => process.stderr.write(`${line}\n`)) {
  if (isInstalled(root)) return;
  const lock = join(root, '.install-lock');
  await withFolderLock(lock, say, async (signal) => {
    if (isInstalled(root)) return;
    await install(root, say, signal);
    mkdirSync(join(root, 'node_modules'), { recursive: true });
    writeFileSync(stampFile(root), `${fingerprint(root)}\n`);
  });
}

/**
 * Whether node_modules was installed from the present package-lock.json, by us or by hand.
 * @param {string} root
 */
export function isInstalled(root) {
  if (!existsSync(join(root, 'node_modules'))) return false;
  const wanted = fingerprint(root);
  if (readIfThere(stampFile(root))?.trim() === wanted) return true;
  if (!installedByHand(root)) return false;
  try {
    writeFileSync(stampFile(root), `${wanted}\n`);
  } catch {
    // A clone that we may only read: the comparison is then made at each start.
  }
  return true;
}

/** @param {string} root */
function stampFile(root) {
  return join(root, 'node_modules', '.keyreeve-installed');
}

/**
 * Hash of the lock file, with the platform: a folder shared by two systems holds one's programs.
 * @param {string} root
 */
function fingerprint(root) {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const hash = createHash('sha256').update(lock).digest('hex');
  return `${hash} ${process.platform}-${process.arch}`;
}

/**
 * Compares the lock file with the list that npm itself leaves in node_modules.
 * @param {string} root
 */
function installedByHand(root) {
  const left = readIfThere(join(root, 'node_modules', '.package-lock.json'));
  if (left === undefined) return false;
  try {
    const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    const found = JSON.parse(left).packages;
    return Object.entries(wanted).every(([path, entry]) => {
      if (path === '') return true;
      // npm leaves out what is optional and made for another system.
      if (found[path] === undefined) return entry.optional === true;
      return (
        found[path].version === entry.version &&
        found[path].integrity === entry.integrity &&
        existsSync(join(root, path))
      );
    });
  } catch {
    return false;
  }
}

/** @param {string} path */
function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/**
 * @param {string} root
 * @param {(line: string) => void} say
 * @param {AbortSignal} signal
 */
async function install(root, say, signal) {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const count = Object.keys(lock.packages).length - 1;
  say(`installing up to ${count} packages from package-lock.json (only when it has changed) ...`);
  const started = Date.now();
  const progress = setInterval(() => {
    say(`still installing, ${Math.round((Date.now() - started) / 1000)} s ...`);
  }, progressSeconds * 1000);
  try {
    await runNpm(root, signal);
  } finally {
    clearInterval(progress);
  }
  say(`installed in ${Math.round((Date.now() - started) / 1000)} s`);
}

/**
 * `npm ci` without install scripts. Development and optional packages are asked for by name,
 * since NODE_ENV or the user's settings may leave them out and Node itself is an optional one.
 * @param {string} root
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function runNpm(root, signal) {
  const options = ['--ignore-scripts', '--include=dev', '--include=optional'];
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const args = ['ci', ...options, ...quiet];
  const npm = process.env.npm_execpath;
  // The Node that runs npm, and not the one inside the folder that npm is about to replace.
  const node = process.env.npm_node_execpath ?? process.execPath;
  const known = npm !== undefined && /npm-cli\.[cm]?js$/.test(npm);
  const child = spawn(known ? node : 'npm', known ? [npm, ...args] : args, {
    cwd: root,
    // Standard output belongs to the task that comes after.
    stdio: ['ignore', 2, 2],
    shell: !known && process.platform === 'win32',
  });
  const stop = () => child.kill('SIGTERM');
  signal.addEventListener('abort', stop);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      signal.removeEventListener('abort', stop);
      if (code === 0 && !signal.aborted) resolve();
      else reject(new Error(signal.aborted ? 'interrupted' : `npm ci ended with ${code}`));
    });
  });
}
