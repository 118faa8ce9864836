// Plain JavaScript for any Node from 20 on: it runs before the pinned Node has been tried.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Whether the program runs on this system; the answer yes is remembered beside the packages. The
 * pinned Node needs the libraries libatomic and libstdc++, which a small system may lack.
 * @param {string} root folder that holds node_modules
 * @param {string} node
 * @param {string} running the Node that asks, which runs for certain
 * @returns {string | undefined} what the system said, or undefined if it runs
 */
export function whyNodeFails(root, node, running = process.execPath) {
  if (node === running || realpathSync(node) === realpathSync(running)) return undefined;
  const memory = join(root, 'node_modules', '.keyreeve-node-runs');
  if (existsSync(memory) && readFileSync(memory, 'utf8') === node) return undefined;
  const { status, error, stderr } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  if (status !== 0) {
    // npm puts this link first on PATH: left there, even this explanation could not be given.
    rmSync(join(root, 'node_modules', '.bin', 'node'), { force: true });
    return error?.message ?? stderr.trim();
  }
  try {
    writeFileSync(memory, node);
  } catch {
    // A clone that we may only read: the program is then tried at each start.
  }
  return undefined;
}

/**
 * As root on Debian, where tests may install packages anyway: the library that is usually missing.
 * @param {NodeJS.ProcessEnv} env
 * @returns {boolean} whether it was installed
 */
export function installLibrary(env = process.env) {
  if ((env.KEYREEVE_TEST_NO_APT ?? '') !== '') return false;
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return false;
  process.stderr.write('installing the Debian package libatomic1, which Node needs ...\n');
  const options = {
    stdio: /** @type {['ignore', 2, 2]} */ (['ignore', 2, 2]),
    env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
  };
  spawnSync('apt-get', ['update', '-qq'], options);
  return spawnSync('apt-get', ['install', '-y', '-qq', 'libatomic1'], options).status === 0;
}
