import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { KeyreeveError } from '../base/errors.ts';
import {
  ensurePrivateFolder,
  exists,
  partialsOf,
  readPrivateFile,
  requirePrivate,
  writeFileDurably,
} from '../base/files.ts';
import { openSealed, sealBytes } from '../crypto/crypto.ts';

/** Where the root key lives, as `KEYREEVE_SEAL` says. */
export type SealLocation =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'environment'; readonly name: string }
  | { readonly kind: 'credential'; readonly name: string };

const rootKeyBytes = 32;
const header = 'keyreeve-root-key v1';
export const rootKeyFile = 'root.key';

/** Reads `KEYREEVE_SEAL`: a path, `env:NAME`, or `credential:NAME` for systemd. */
export function parseSealLocation(text: string): SealLocation {
  if (text.startsWith('env:')) return { kind: 'environment', name: text.slice('env:'.length) };
  if (text.startsWith('credential:')) {
    return { kind: 'credential', name: text.slice('credential:'.length) };
  }
  return { kind: 'folder', path: resolve(text) };
}

export function formatSealLocation(location: SealLocation): string {
  if (location.kind === 'folder') return location.path;
  return `${location.kind === 'environment' ? 'env' : 'credential'}:${location.name}`;
}

/**
 * The one key above all others. It wraps the store keys, and seals the checksums of a backup so that
 * a forged one is refused; it is in no backup itself. Whoever holds it and the database holds every
 * wrapped key.
 */
export class RootKey {
  readonly location: SealLocation;
  /** Says which key it is and nothing about it: 32 hexadecimal characters. */
  readonly fingerprint: string;
  readonly #key: KeyObject;

  constructor(location: SealLocation, key: KeyObject) {
    this.location = location;
    this.#key = key;
    this.fingerprint = createHmac('sha256', key)
      .update('keyreeve root key fingerprint')
      .digest('hex')
      .slice(0, 32);
  }

  /** Wraps bytes; `label` says what they are and must be the same to unwrap. */
  wrap(label: string, bytes: Uint8Array): Uint8Array {
    return sealBytes(this.#key, bytes, Buffer.from(label, 'utf8'));
  }

  unwrap(label: string, wrapped: Uint8Array): Buffer {
    return openSealed(this.#key, wrapped, Buffer.from(label, 'utf8'));
  }
}

/** Opens the root key, or undefined where there is none yet. A malformed one is refused. */
export function openRootKey(
  location: SealLocation,
  environment: NodeJS.ProcessEnv = process.env,
): RootKey | undefined {
  const text = readRootKeyText(location, environment);
  return text === undefined ? undefined : new RootKey(location, parseRootKey(location, text));
}

function readRootKeyText(
  location: SealLocation,
  environment: NodeJS.ProcessEnv,
): string | undefined {
  if (location.kind === 'environment') return environment[location.name] || undefined;
  if (location.kind === 'credential') {
    const folder = environment.CREDENTIALS_DIRECTORY;
    if (folder === undefined) {
      throw new KeyreeveError('root-key-missing', 'CREDENTIALS_DIRECTORY is not set.', {
        hint: `Start under systemd with LoadCredential=${location.name}:PATH.`,
      });
    }
    const path = join(folder, location.name);
    return exists(path) ? readFileSync(path, 'utf8') : undefined;
  }
  const path = join(location.path, rootKeyFile);
  if (!exists(path)) return undefined;
  requirePrivate(location.path, 'folder');
  return readPrivateFile(path).toString('utf8');
}

function parseRootKey(location: SealLocation, text: string): KeyObject {
  const lines = text.trim().split(/\s*\n/);
  const body =
    lines.length === 2 && lines[0] === header ? lines[1]! : lines.length === 1 ? lines[0]! : '';
  const bytes = Buffer.from(body, 'base64');
  if (bytes.length !== rootKeyBytes || bytes.toString('base64') !== body) {
    throw new KeyreeveError(
      'root-key-missing',
      `What lies at ${formatSealLocation(location)} is not a root key.`,
      { hint: `A root key is the line "${header}" and ${rootKeyBytes} bytes in base64.` },
    );
  }
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return key;
}

/** The text of a fresh root key, for whoever keeps it outside a folder. */
export function makeRootKeyText(): string {
  return `${header}\n${randomBytes(rootKeyBytes).toString('base64')}\n`;
}

/** Makes a root key in a folder that has none. It is on disk when this returns. */
export function createRootKey(location: SealLocation): RootKey {
  if (location.kind !== 'folder') {
    throw new KeyreeveError(
      'root-key-missing',
      `There is no root key in ${formatSealLocation(location)}.`,
      {
        hint: 'Make one with: (echo "keyreeve-root-key v1"; head -c 32 /dev/urandom | base64), and give it there.',
      },
    );
  }
  ensurePrivateFolder(location.path);
  const text = makeRootKeyText();
  const path = join(location.path, rootKeyFile);
  // A start that was killed here left a root key that nothing was sealed with.
  for (const partial of partialsOf(path)) rmSync(partial, { force: true });
  writeFileDurably(path, text, { exclusive: true });
  return new RootKey(location, parseRootKey(location, text));
}
