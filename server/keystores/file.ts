import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type AlgorithmName, algorithms } from '../../api/algorithms.ts';
import {
  ensurePrivateFolder,
  exists,
  flushFolder,
  namesIn,
  partialsOf,
  readPrivateFile,
  requirePrivate,
  writeFileDurably,
} from '../base/async-files.ts';
import { KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  algorithmOfPrivate,
  generateKeyMaterial,
  importPrivate,
  type KeyMaterial,
  requireLocalKey,
} from '../crypto/crypto.ts';
import { DiskLine } from './disk-line.ts';
import type { KeyIdentity, Keystore, KeystoreObject, StoredKey } from './keystore.ts';

const publicFileMode = 0o644;
const keyFileName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const publicFolderMode = 0o755;

export interface FileKeystoreOptions {
  /** The folder that holds `private/` and `public/`: `CRYPTO_KEYS_PATH`. */
  readonly folder: string;
  /** Opens and encrypts the private keys; without it they are plain PKCS#8 in private files. */
  readonly passphrase?: SecretBytes | undefined;
}

/**
 * `file:`: private keys as PKCS#8 PEM in `<folder>/private`, encrypted where a passphrase is
 * configured, public keys as SPKI PEM in `<folder>/public`. What lies there is read by openssl as
 * it is. Modes and owners are checked on every opening.
 */
export function createFileKeystore(options: FileKeystoreOptions): Keystore {
  const folder = resolve(options.folder);
  const disk = new DiskLine(folder);
  const store = async (identity: KeyIdentity, material: KeyMaterial): Promise<StoredKey> => {
    const name = fileName(identity);
    await disk.run(
      () => writeKeyFiles(folder, name, material, options.passphrase),
      () => removeKeyFiles(folder, name),
    );
    return storedAt(`file:${name}`, material);
  };
  return {
    name: 'file',
    kind: 'file',
    capabilities: { import: true, export: false, list: true, attest: false, external: true },
    generate: async (identity, algorithm) => {
      requireAsymmetric(algorithm);
      return store(identity, await generateKeyMaterial(algorithm));
    },
    import: async (identity, material) => {
      requireAsymmetric(material.algorithm);
      return store(identity, material);
    },
    open: async (location) => {
      const path = privatePath(folder, nameOf(location.uri));
      using pem = new SecretBytes(await disk.run(() => readKeyFile(folder, path)));
      return await importPrivate(location.algorithm, pem, options.passphrase);
    },
    adopt: async (object) => {
      const uri = `file:${fileOf(object)}`;
      const path = privatePath(folder, nameOf(uri));
      using pem = new SecretBytes(await disk.run(() => readNamedFile(folder, path)));
      const algorithm = algorithmOfPrivate(pem, options.passphrase);
      const material = await importPrivate(algorithm, pem, options.passphrase);
      return { algorithm, stored: storedAt(uri, material), extractable: true };
    },
    destroy: async (location) => {
      const name = nameOf(location.uri);
      await disk.run(() => removeKeyFiles(folder, name));
    },
    discard: (identity) => disk.run(() => removeKeyFiles(folder, fileName(identity))),
    exists: (identity) =>
      disk.run(async () => {
        await requireFolders(folder);
        return (await filesOf(folder, fileName(identity))).length > 0;
      }),
    isAt: (identity, uri) => uri === `file:${fileName(identity)}`,
    describe: async () => ({ assurance: 'none', assuranceFrom: 'kind' }),
    health: () => healthOf(disk, folder),
  };
}

function storedAt(uri: string, material: KeyMaterial): StoredKey {
  return {
    uri,
    privateBlob: null,
    storeKeyId: null,
    publicKey: material.spki ?? null,
    fingerprint: material.fingerprint,
  };
}

function requireAsymmetric(algorithm: AlgorithmName): void {
  if (algorithms[algorithm].kind === 'asymmetric') return;
  throw new KeyreeveError('capability-missing', 'The keystore `file` holds key pairs only.', {
    hint: 'Make secret keys in the keystore `wrapped`.',
  });
}

function fileName({ keyId, version, attempt }: Omit<KeyIdentity, 'name'>): string {
  return attempt === undefined ? `${keyId}-${version}` : `${keyId}-${version}-${attempt}`;
}

/** What a caller calls the file: without the ending. */
function fileOf({ label, id }: KeystoreObject): string {
  if (label !== undefined && id === undefined && keyFileName.test(label)) return label;
  throw new KeyreeveError('invalid-request', 'Name one key file of the keystore `file`.', {
    hint: 'Its name in the folder `private`, without `.pem`: --object NAME',
  });
}

function privatePath(folder: string, name: string): string {
  return join(folder, 'private', `${name}.pem`);
}

function publicPath(folder: string, name: string): string {
  return join(folder, 'public', `${name}.pub`);
}

// A name comes from the database: it must not lead out of the folder.
function nameOf(uri: string): string {
  const name = uri.slice('file:'.length);
  if (!uri.startsWith('file:') || !keyFileName.test(name)) {
    throw new KeyreeveError('integrity-failed', 'The address of a key file is not valid.');
  }
  return name;
}

/**
 * Writes a key pair: the public half first, so that a private key is never without it. Refuses to
 * replace either.
 */
async function writeKeyFiles(
  folder: string,
  name: string,
  material: KeyMaterial,
  passphrase: SecretBytes | undefined,
): Promise<void> {
  await ensurePrivateFolder(folder);
  await ensurePrivateFolder(join(folder, 'private'));
  // What is in it is public; the folder above lets nobody else in anyway.
  await mkdir(join(folder, 'public'), { recursive: true, mode: publicFolderMode });
  const pem = material.publicKey?.export({ format: 'pem', type: 'spki' }) as string;
  const path = privatePath(folder, name);
  if (await exists(path)) {
    throw new KeyreeveError('already-exists', `${path} exists already.`, {
      hint: 'Choose another id: key files are never replaced.',
    });
  }
  const publicFile = publicPath(folder, name);
  await writeFileDurably(publicFile, pem, { mode: publicFileMode, exclusive: true });
  try {
    const key = requireLocalKey(material.privateKey, 'give away a private key');
    const encoded = key.export({
      format: 'pem',
      type: 'pkcs8',
      ...(passphrase === undefined
        ? {}
        : { cipher: 'aes-256-cbc', passphrase: passphrase.reveal() }),
    });
    using secret = new SecretBytes(Buffer.from(encoded as string, 'utf8'));
    await writeFileDurably(path, secret.reveal(), { exclusive: true });
  } catch (error) {
    await rm(publicFile, { force: true });
    throw error;
  }
}

async function readKeyFile(folder: string, path: string): Promise<Buffer> {
  await requireFolders(folder);
  if (!(await exists(path))) {
    throw new KeyreeveError('keystore-unavailable', `Private key not found: ${path}`, {
      hint: 'Bring the key file or the folder CRYPTO_KEYS_PATH back.',
    });
  }
  return readPrivateFile(path);
}

/** A file that somebody named: that it is not there is his mistake, not a fault of the folder. */
async function readNamedFile(folder: string, path: string): Promise<Buffer> {
  await requireFolders(folder);
  if (await exists(path)) return readPrivateFile(path);
  throw new KeyreeveError('not-found', `There is no private key ${path}.`, {
    hint: 'Correct the name: it is that of the file, without `.pem`.',
  });
}

async function requireFolders(folder: string): Promise<void> {
  if (!(await exists(folder))) {
    throw new KeyreeveError('keystore-unavailable', `The key folder ${folder} is not there.`, {
      hint: 'Mount it, or correct CRYPTO_KEYS_PATH.',
    });
  }
  await requirePrivate(folder, 'folder');
  const inner = join(folder, 'private');
  if (await exists(inner)) await requirePrivate(inner, 'folder');
}

async function removeKeyFiles(folder: string, name: string): Promise<void> {
  await requireFolders(folder);
  for (const path of await filesOf(folder, name)) await rm(path, { force: true });
  for (const part of ['private', 'public']) {
    if (await exists(join(folder, part))) await flushFolder(join(folder, part));
  }
}

/** Both halves of a key, and what a crash left of writing them. */
async function filesOf(folder: string, name: string): Promise<string[]> {
  const found: string[] = [];
  for (const path of [privatePath(folder, name), publicPath(folder, name)]) {
    if (await exists(path)) found.push(path);
    found.push(...(await partialsOf(path)));
  }
  return found;
}

async function healthOf(
  disk: DiskLine,
  folder: string,
): Promise<{ ready: boolean; reason: string | undefined }> {
  try {
    await disk.run(() => checkFolder(folder));
    return { ready: true, reason: undefined };
  } catch (error) {
    return { ready: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

async function checkFolder(folder: string): Promise<void> {
  if (!(await exists(folder))) return;
  await requireFolders(folder);
  const inner = join(folder, 'private');
  for (const file of await namesIn(inner)) await requirePrivate(join(inner, file), 'file');
}

/** The files of a file keystore, for a backup: relative path and bytes. */
export function* keyFiles(folder: string): Generator<{ path: string; bytes: Buffer }> {
  for (const part of ['private', 'public']) {
    const inner = join(folder, part);
    if (!existsSync(inner)) continue;
    for (const file of readdirSync(inner).sort()) {
      const path = join(inner, file);
      if (statSync(path).isFile()) yield { path: `${part}/${file}`, bytes: readFileSync(path) };
    }
  }
}
