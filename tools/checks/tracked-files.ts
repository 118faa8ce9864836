import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { dirname, extname, join } from 'node:path';
import { isTest } from './imports.ts';

const lineLimit = 400;
const testLineLimit = 600;
const textLimitBytes = 2 * 1024 * 1024;

/** Files that git tracks or would add, relative to the root. */
export function trackedFiles(root: string): string[] {
  const parameters = ['ls-files', '--cached', '--others', '--exclude-standard', '-z'];
  const listed = execFileSync('git', parameters, { cwd: root, encoding: 'utf8' });
  return listed
    .split('\0')
    .filter((file) => file !== '' && existsSync(join(root, file)))
    .filter((file) => statSync(join(root, file)).isFile());
}

/** What belongs to one machine and must not be in a file that others get. */
export interface Machine {
  readonly folders: readonly string[];
  readonly hosts: readonly string[];
}

/** This machine: its home folder, the place of the clone, its name, the registry it installs from. */
export function thisMachine(root: string, env: NodeJS.ProcessEnv = process.env): Machine {
  // A short path such as /app or /root may be in a file for good reasons.
  const folders = [root, dirname(root), homedir()].filter((path) => path.split('/').length > 2);
  const registry = env.npm_config_registry;
  const hosts = [hostname(), registry === undefined ? '' : URL.parse(registry)?.hostname];
  return {
    folders,
    hosts: hosts.filter((host) => host !== undefined && host.length > 5 && host !== 'localhost'),
  } as Machine;
}

/** Paths of a person's machine and registry hosts in tracked text. */
export function checkMachineTraces(root: string, machine: Machine = thisMachine(root)): string[] {
  const literals = [...machine.folders, ...machine.hosts].map((text) => RegExp.escape(text));
  const patterns = [
    ...literals.map((text) => new RegExp(`(?<![\\w.-])${text}(?![\\w-])`)),
    /(?<![\w.-])\/(?:home|Users)\/[a-z][\w-]*\//,
    /\bregistry\.[a-z][a-z0-9-]*\.[a-z]{2,}/,
  ];
  return trackedFiles(root).flatMap((file) => {
    const text = textOf(join(root, file));
    if (text === undefined) return [];
    return text.split('\n').flatMap((line, index) => {
      const match = patterns.map((pattern) => pattern.exec(line)?.[0]).find(Boolean);
      return match === undefined ? [] : [`${file}:${index + 1} holds ${match.trim()}`];
    });
  });
}

/** Files that are too long to be read. */
export function checkFileLength(root: string): string[] {
  return trackedFiles(root)
    .filter((file) => ['.ts', '.mjs', '.py'].includes(extname(file)))
    .filter((file) => !file.startsWith('test/vectors/'))
    .flatMap((file) => {
      const lines = readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length;
      const limit = isTest(file) ? testLineLimit : lineLimit;
      return lines > limit ? [`${file} has ${lines} lines: ${limit} is the limit`] : [];
    });
}

/** Links in Markdown lead to files and headings that exist. */
export function checkLinks(root: string): string[] {
  return trackedFiles(root)
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) => {
      const text = withoutCode(readFileSync(join(root, file), 'utf8'));
      const targets = [...text.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)];
      return targets
        .map((match) => match[1]!)
        .filter((target) => !/^[a-z][a-z0-9+.-]*:/i.test(target))
        .filter((target) => !leadsSomewhere(root, file, target))
        .map((target) => `${file} links to ${target}, which is not there`);
    });
}

function leadsSomewhere(root: string, file: string, target: string): boolean {
  const [path = '', heading] = target.split('#');
  const found = path === '' ? join(root, file) : join(root, dirname(file), decodeURI(path));
  if (!existsSync(found)) return false;
  if (heading === undefined || !found.endsWith('.md')) return true;
  const text = withoutCode(readFileSync(found, 'utf8'));
  return [...text.matchAll(/^#+\s+(.+?)\s*$/gm)].some((match) => slug(match[1]!) === heading);
}

/** The anchor that code hosts make of a heading. */
function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-');
}

/** Without fenced blocks; a line that begins with # there is no heading. */
function withoutCode(text: string): string {
  return text.replaceAll(/^ *(```|~~~)[\s\S]*?^ *\1.*$/gm, '');
}

function textOf(path: string): string | undefined {
  if (statSync(path).size > textLimitBytes) return undefined;
  const bytes = readFileSync(path);
  return bytes.includes(0) ? undefined : bytes.toString('utf8');
}
