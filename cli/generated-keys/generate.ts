import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { formatTime } from '../../server/base/clock.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import { ensurePrivateFolder } from '../../server/base/files.ts';
import type { SecretBytes } from '../../server/base/secret-bytes.ts';
import { appendInventory, inventoryName } from './inventory.ts';
import type { KeyParameters } from './kinds.ts';
import { placeTogether } from './placement.ts';

export interface GenerateOptions {
  /** `CRYPTO_KEYS_PATH`: made with mode 0700 where it does not exist. */
  readonly folder: string;
  readonly id: string;
  readonly parameters: KeyParameters;
  /** Encrypts the private key (PKCS#8, AES-256). */
  readonly passphrase?: SecretBytes | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface GeneratedKeyFiles {
  readonly privatePath: string;
  readonly publicPath: string;
  readonly metadataPath: string;
  readonly encrypted: boolean;
}

/**
 * Makes a key pair and writes `private/<id>.pem` (PKCS#8, 0600), `public/<id>.pub` (SPKI, 0644),
 * `<id>.json` and a line of `key-inventory.csv`: all of them or, on failure, none. Nothing is
 * ever overwritten. Throws `already-exists`, `invalid-name`, `lax-mode`, `conflict`.
 */
export async function generateKeyFiles(options: GenerateOptions): Promise<GeneratedKeyFiles> {
  const { folder, id, parameters } = options;
  checkId(id);
  // Step 1: folders, and refusals, before the work of making a key.
  prepareFolders(folder);
  const paths = {
    privatePath: join(folder, 'private', `${id}.pem`),
    publicPath: join(folder, 'public', `${id}.pub`),
    metadataPath: join(folder, `${id}.json`),
  };
  // Step 2: the key, in memory.
  const { privateKey, publicKey } = await parameters.generate();
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const createdAt = formatTime(options.now);
  const encrypted = options.passphrase !== undefined;
  const metadata = {
    id,
    algorithm: parameters.title,
    ...(parameters.kind === 'rsa' ? { size: Number(parameters.size) } : { curve: parameters.size }),
    scheme: parameters.scheme,
    createdAt,
    state: 'active',
    fingerprint: createHash('sha256').update(spki).digest('hex'),
    encrypted,
    privateKey: `private/${id}.pem`,
    publicKey: `public/${id}.pub`,
  };
  const pem = privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    ...(options.passphrase === undefined
      ? {}
      : { cipher: 'aes-256-cbc', passphrase: options.passphrase.reveal() }),
  });
  // Step 3: all files under their names.
  placeTogether(folder, id, [
    { path: paths.privatePath, content: pem, mode: 0o600 },
    {
      path: paths.publicPath,
      content: publicKey.export({ format: 'pem', type: 'spki' }),
      mode: 0o644,
    },
    { path: paths.metadataPath, content: `${JSON.stringify(metadata, null, 2)}\n`, mode: 0o644 },
  ]);
  // Step 4: the inventory speaks of keys that are there.
  appendInventory(join(folder, inventoryName), [
    id,
    parameters.title,
    parameters.size,
    createdAt,
    'active',
  ]);
  return { ...paths, encrypted };
}

/** The id becomes a file name and a cell of the inventory. */
function checkId(id: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(id)) return;
  throw new KeyreeveError('invalid-name', `"${id}" cannot be the id of a key`, {
    hint: 'Use up to 100 letters, digits, ".", "_" and "-", a letter or digit first.',
  });
}

/** `keys/` and `private/` for their owner alone; `public/` for everyone who is let in. */
function prepareFolders(folder: string): void {
  ensurePrivateFolder(folder);
  ensurePrivateFolder(join(folder, 'private'));
  const publicFolder = join(folder, 'public');
  const isNew = mkdirSync(publicFolder, { recursive: true }) !== undefined;
  // The umask may have taken rights away.
  if (isNew) chmodSync(publicFolder, 0o755);
}
