import { readdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Caller } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { ensurePrivateFolder, exists } from '../base/files.ts';
import type { Call, Handlers, StreamAnswer } from '../base/handler.ts';
import { newId } from '../base/ids.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { version } from '../base/version.ts';
import {
  type Commands,
  everyNodeIsGone,
  type IsOrphan,
  settleUnfinished,
} from '../commands/commands.ts';
import type { RootKeys } from '../keystores/keystores.ts';
import { type Step, type Storage, underLease } from '../storage/storage.ts';
import { type BackupFile, readFileStream, writeBackupFile } from './backup-file.ts';
import type { BackupContents } from './backup-writer.ts';
import { fileExtensions, type Protection } from './protection.ts';

export const backupIntentKind = 'backup.create';
const spoolName = /^backup-.*\.(age|gpg)(\.partial)?$/;
/** An answer that nobody begins to read is thrown away after this. */
const unreadSeconds = 60;

export interface BackupsOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly installationId: string;
  readonly rootKeys: RootKeys;
  /** Gives waiting entries their place, so that the backup's checkpoint is of all there are. */
  readonly record: { sequenceNow(): Promise<number> };
  readonly keyFilesFolder: string | undefined;
  /** Where the encrypted backup lies until it was sent. */
  readonly temporaryFolder: string;
}

export interface Backups {
  handlers(commands: Commands): Handlers<'backup.create'>;
  /** To be called at the start: removes what a crash left in the temporary folder. */
  clear(): void;
  /** Settles what nodes that are gone left unfinished, and returns how many there were. */
  settle(isOrphan?: IsOrphan): Promise<number>;
}

/**
 * Backups on request. The backup is made whole and checked before its answer begins: first as an
 * encrypted file in the temporary folder, then recorded, then sent with its length and SHA-256.
 * A repeated request makes another backup, whatever its idempotency key.
 */
export function createBackups(options: BackupsOptions): Backups {
  let running = false;
  const create = async (commands: Commands, call: Call<'backup.create'>): Promise<StreamAnswer> => {
    using protection = protectionOf(call.body);
    if (running) throw busy();
    running = true;
    try {
      const { storage, clock } = options;
      const file = await underLease({ storage, clock, name: leaseName, busy }, () =>
        makeBackup(options, commands, call, protection),
      );
      return answer(options, commands, call.caller, file, protection.kind);
    } finally {
      running = false;
    }
  };
  return {
    handlers: (commands) => ({ 'backup.create': (call) => create(commands, call) }),
    clear: () => clear(options),
    settle: (isOrphan = everyNodeIsGone) =>
      settleUnfinished(options.storage, options.clock, backupIntentKind, isOrphan),
  };
}

/** One node of all makes a backup at a time: it reads the whole database. */
const leaseName = 'backup';

function busy(): KeyreeveError {
  return new KeyreeveError('overloaded', 'Another backup is being made.', {
    hint: 'Try again when it is done.',
    retryAfterSeconds: 10,
  });
}

/** The row by which a destruction names the backups that still hold a key. */
export function backupRowStep({ db }: Storage, file: BackupFile): Step {
  const { manifest } = file;
  const values = {
    id: manifest.id,
    created_at: Date.parse(manifest.createdAt),
    created_by: manifest.createdBy,
    tree_size: manifest.record?.size ?? 0,
    label: manifest.label,
  };
  return { query: db.insertInto('backup').values(values).compile() };
}

/** What the record says of a backup that was made. */
export function backupDetail(file: BackupFile): string {
  const { manifest, bytes, sha256, sums } = file;
  return canonicalJson({
    label: manifest.label,
    bytes,
    sha256,
    keys: sums.tables.key ?? 0,
    treeSize: manifest.record?.size ?? 0,
  });
}

function protectionOf(body: Call<'backup.create'>['body']): Protection & Disposable {
  const { recipients, passphrase } = body;
  if ((recipients === undefined) === (passphrase === undefined)) {
    throw new KeyreeveError('invalid-request', 'A backup takes recipients or a passphrase.', {
      hint: 'Give one of them, not both.',
    });
  }
  if (recipients !== undefined) {
    return { kind: 'age', recipients, [Symbol.dispose]: () => undefined };
  }
  const secret = new SecretBytes(Buffer.from(passphrase!, 'utf8'));
  return { kind: 'openpgp', passphrase: secret, [Symbol.dispose]: () => secret[Symbol.dispose]() };
}

/** Intent, file, outcome: in this order, so that no backup exists that the record does not know. */
async function makeBackup(
  options: BackupsOptions,
  commands: Commands,
  { caller, body }: Call<'backup.create'>,
  protection: Protection,
): Promise<BackupFile> {
  const { storage, clock, temporaryFolder } = options;
  const id = newId('bak');
  const path = join(temporaryFolder, `backup-${id}.${fileExtensions[protection.kind]}`);
  const recipients = protection.kind === 'age' ? protection.recipients : null;
  let file: BackupFile | undefined;
  await commands.run(caller, {
    action: 'backup.create',
    resource: { type: 'system' },
    about: { resource: id },
    // Without the passphrase: what is here is hashed and kept.
    input: { id, label: body.label, recipients },
    intent: { kind: backupIntentKind, payload: { id, label: body.label } },
    raisesEpoch: false,
    act: async () => {
      ensurePrivateFolder(temporaryFolder);
      await options.record.sequenceNow().catch(() => 0);
      const contents: BackupContents = {
        id,
        label: body.label,
        createdBy: caller.principalId,
        clock,
        productVersion: version(),
        installationId: options.installationId,
        rootKeys: options.rootKeys,
        fileKeystoreFolder: options.keyFilesFolder,
      };
      file = await writeBackupFile(storage, contents, protection, path);
      return {
        result: { id },
        steps: [backupRowStep(storage, file)],
        about: { detail: backupDetail(file) },
      };
    },
    undo: () => rm(path, { force: true }),
  });
  return file!;
}

function answer(
  options: BackupsOptions,
  commands: Commands,
  caller: Caller,
  file: BackupFile,
  kind: Protection['kind'],
): StreamAnswer {
  const { id } = file.manifest;
  const unread = setTimeout(() => rmSync(file.path, { force: true }), unreadSeconds * 1000);
  unread.unref();
  async function* body(): AsyncGenerator<Uint8Array> {
    clearTimeout(unread);
    let sent = 0;
    try {
      for await (const chunk of readFileStream(file.path)) {
        yield chunk;
        sent += chunk.length;
      }
    } finally {
      rmSync(file.path, { force: true });
      const outcome = sent === file.bytes ? 'ok' : 'unreachable';
      const entry = commands.entry(caller, 'event', 'backup.sent', outcome, { resource: id });
      // The backup is sent or not, whether or not this can be written.
      await options.storage.commit({ steps: [], entries: [entry] }).catch(() => undefined);
    }
  }
  return {
    contentType: kind === 'age' ? 'application/octet-stream' : 'application/pgp-encrypted',
    fileName: fileName(file, kind),
    body: body(),
    headers: {
      'Content-Length': String(file.bytes),
      // RFC 9530 section 3.
      'Repr-Digest': `sha-256=:${Buffer.from(file.sha256, 'hex').toString('base64')}:`,
    },
  };
}

function fileName({ manifest }: BackupFile, kind: Protection['kind']): string {
  const time = manifest.createdAt.slice(0, 19).replaceAll(':', '');
  return `keyreeve-${time}Z.tar.${fileExtensions[kind]}`;
}

/** A backup that was begun and not finished is none. */
function clear({ temporaryFolder }: BackupsOptions): void {
  for (const name of exists(temporaryFolder) ? readdirSync(temporaryFolder) : []) {
    if (spoolName.test(name)) rmSync(join(temporaryFolder, name), { force: true });
  }
}
