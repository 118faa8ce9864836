import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
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
import type { KeystoreHealth } from './keystore.ts';
import type { RootKey, RootKeyGuard, SealLocation } from './root-key-kinds.ts';

type BytesLocation = Exclude<SealLocation, { kind: 'token' }>;
type FolderLocation = Extract<SealLocation, { kind: 'folder' }>;

const rootKeyBytes = 32;
const header = 'keyreeve-root-key v1';
export const rootKeyFile = 'root.key';

/** A root key that is read at the start: XAES-256-GCM with the label as associated data. */
class BytesRootKey implements RootKey {
  readonly location: SealLocation;
  readonly guard: RootKeyGuard;
  readonly fingerprint: string;
  readonly #key: KeyObject;

  constructor(location: BytesLocation, key: KeyObject) {
    this.location = location;
    this.guard = location.kind === 'folder' ? 'file' : 'given-at-start';
    this.#key = key;
    this.fingerprint = createHmac('sha256', key)
      .update('keyreeve root key fingerprint')
      .digest('hex')
      .slice(0, 32);
  }

  async wrap(label: string, bytes: Uint8Array): Promise<Uint8Array> {
    return sealBytes(this.#key, bytes, Buffer.from(label, 'utf8'));
  }

  async unwrap(label: string, wrapped: Uint8Array): Promise<Buffer> {
    return openSealed(this.#key, wrapped, Buffer.from(label, 'utf8'));
  }

  /** Once read it needs its place no more. */
  async health(): Promise<KeystoreHealth> {
    return { ready: true, reason: undefined };
  }

  async close(): Promise<void> {}
}

/** Reads the root key, or undefined where there is none yet. A malformed one is refused. */
export function openRootKeyBytes(
  location: BytesLocation,
  environment: Readonly<NodeJS.ProcessEnv>,
): RootKey | undefined {
  const text = readRootKeyText(location, environment);
  return text === undefined ? undefined : new BytesRootKey(location, parseRootKey(location, text));
}

/** Makes a root key in a folder that has none. It is on disk when this returns. */
export function createRootKeyFile(location: FolderLocation): RootKey {
  ensurePrivateFolder(location.path);
  const text = makeRootKeyText();
  const path = join(location.path, rootKeyFile);
  // A start that was killed here left a root key that nothing was sealed with.
  for (const partial of partialsOf(path)) rmSync(partial, { force: true });
  writeFileDurably(path, text, { exclusive: true });
  return new BytesRootKey(location, parseRootKey(location, text));
}

/** The text of a fresh root key, for whoever keeps it outside a folder. */
export function makeRootKeyText(): string {
  return `${header}\n${randomBytes(rootKeyBytes).toString('base64')}\n`;
}

function readRootKeyText(
  location: BytesLocation,
  environment: Readonly<NodeJS.ProcessEnv>,
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

function parseRootKey(location: BytesLocation, text: string): KeyObject {
  const lines = text.trim().split(/\s*\n/);
  const body =
    lines.length === 2 && lines[0] === header ? lines[1]! : lines.length === 1 ? lines[0]! : '';
  const bytes = Buffer.from(body, 'base64');
  if (bytes.length !== rootKeyBytes || bytes.toString('base64') !== body) {
    throw new KeyreeveError(
      'root-key-missing',
      `What lies at ${location.kind === 'folder' ? location.path : location.name} is not a root key.`,
      { hint: `A root key is the line "${header}" and ${rootKeyBytes} bytes in base64.` },
    );
  }
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return key;
}
