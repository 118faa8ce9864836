/** What the tests of this folder share: a whole installation without its HTTP. */
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type KeyView, keyCreateBody } from '../../api/routes/keys.ts';
import { createRecord, entryEncoder } from '../audit/audit.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import type { StreamAnswer } from '../base/handler.ts';
import { newId } from '../base/ids.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { Commands } from '../commands/commands.ts';
import { createDestruction, createKeyHandlers, createUse, Keys } from '../keys/keys.ts';
import {
  createFileKeystore,
  createRootKey,
  createWrappedKeystore,
  Keystores,
  openRootKey,
  openStoreKeys,
  RootKeys,
  sealLocation,
  secretSealer,
} from '../keystores/keystores.ts';
import { type Migration, openStorage } from '../storage/storage.ts';
import { createBackups } from './backups.ts';
import type { MovedRootKey } from './move-root-key.ts';
import { type PlaceConfig, quietLog, storagePlace } from './place.ts';
import { createRootKeyMoves } from './root-key-moves.ts';
import { createTombstones } from './tombstones.ts';

export const passphraseText = 'eleven purple bicycles';
export const passphrase = () => new SecretBytes(Buffer.from(passphraseText));

/** A clock that tests move; every look moves it by a millisecond. */
export class TestClock implements Clock {
  wall = Date.UTC(2030, 0, 1);
  now(): number {
    return this.wall++;
  }
  monotonic(): number {
    return this.wall;
  }
  advance(seconds: number): void {
    this.wall += seconds * 1000;
  }
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-recovery-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A place for an installation; those of one `host` share root key and checkpoints. */
export function placeIn(
  host: string,
  name: string,
  more: { databaseUrl?: string; keyFiles?: string } = {},
): PlaceConfig {
  const keyFiles = more.keyFiles;
  return {
    data: join(host, name),
    seal: { kind: 'path', path: join(host, 'seal') },
    checkpoints: join(host, 'seal'),
    databaseUrl:
      more.databaseUrl === undefined ? undefined : new SecretBytes(Buffer.from(more.databaseUrl)),
    fileKeystore:
      keyFiles === undefined
        ? undefined
        : { folder: join(host, keyFiles), currentKeyId: undefined, passphraseFile: undefined },
  };
}

export type Installation = Awaited<ReturnType<typeof openInstallation>>;

/** Opens what lives at a place, or makes it; the record is begun, and runs when asked. */
export async function openInstallation(
  config: PlaceConfig,
  options: { clock?: TestClock; migrations?: readonly Migration[] } = {},
) {
  const clock = options.clock ?? new TestClock();
  const storage = await openStorage({
    ...storagePlace(config),
    clock,
    log: quietLog,
    entryEncoder,
    ...(options.migrations === undefined ? {} : { migrations: options.migrations }),
  });
  const location = sealLocation(config.seal);
  const rootKey = (await openRootKey(location)) ?? (await createRootKey(location));
  const rootKeys = new RootKeys({ rootKey });
  const storeKeys = await openStoreKeys(storage, rootKey, clock).catch(async (error) => {
    await rootKeys.close();
    await storage.close();
    throw error;
  });
  const installationId = 'ins_aaaaaaaaaaaaaaaaaaaaaaaaaa';
  const record = createRecord({
    storage,
    clock,
    installationId,
    holder: newId('int'),
    sealer: secretSealer(storeKeys),
    checkpointFolder: config.checkpoints,
  });
  await record.start();
  const { fileKeystore } = config;
  const keystores = new Keystores([
    createWrappedKeystore(storeKeys),
    ...(fileKeystore === undefined ? [] : [createFileKeystore({ folder: fileKeystore.folder })]),
  ]);
  const rights: { authorise: Authorise } = { authorise: () => undefined };
  const authorise: Authorise = (...asked) => rights.authorise(...asked);
  const commands = new Commands({
    storage,
    clock,
    authorise,
    stillAllowed: () => [],
    sealer: storeKeys,
    requireClock: () => undefined,
  });
  const keys = new Keys({
    storage,
    keystores,
    clock,
    authorise,
    sealer: storeKeys,
    principalId: async (reference) => reference,
  });
  const backups = createBackups({
    storage,
    clock,
    installationId,
    rootKeys,
    record,
    keyFilesFolder: fileKeystore?.folder,
    temporaryFolder: join(config.data, 'tmp'),
  });
  const rules: { allowKeystore: (uri: string) => Promise<undefined> } = {
    allowKeystore: async () => undefined,
  };
  const moves = createRootKeyMoves({
    ...{ storage, clock, rootKeys, surroundings: {} },
    allowKeystore: (uri) => rules.allowKeystore(uri),
    dataFolder: config.data,
    checkpoints: config.checkpoints,
  });
  const destruction = createDestruction({
    keys,
    clock,
    bury: createTombstones({ folder: config.checkpoints, storage, sealer: storeKeys }).bury,
    isClockUnsafe: () => false,
  });
  const handlers = {
    ...createKeyHandlers(keys, commands),
    ...createUse({ keys, clock, requireClock: () => undefined, recheck: async () => undefined }),
    ...backups.handlers(commands),
    ...moves.handlers(commands),
  };
  const caller = (): Caller => ({
    principalId: 'prn_test',
    principalName: 'ada',
    roles: ['administrator'],
    credentialId: 'tok_test',
    folders: undefined,
    address: '127.0.0.1',
    agent: 'test',
    correlationId: 'req_test',
    epoch: storage.epoch,
  });
  const call = (id: keyof typeof handlers, params: object, body: object): Promise<unknown> =>
    (handlers[id] as unknown as (call: object) => Promise<unknown>)({
      caller: caller(),
      params,
      query: {},
      body,
      idempotencyKey: undefined,
    });
  return {
    config,
    clock,
    storage,
    storeKeys,
    rootKey,
    rootKeys,
    rules,
    moves,
    record,
    keys,
    commands,
    rights,
    backups,
    destruction,
    call,
    createKey: (body: object) =>
      call('key.create', {}, keyCreateBody.parse(body)) as Promise<KeyView>,
    encrypt: async (key: string, text: string): Promise<string> => {
      const body = { plaintext: Buffer.from(text).toString('base64') };
      return ((await call('key.encrypt', { key }, body)) as { ciphertext: string }).ciphertext;
    },
    decrypt: async (key: string, ciphertext: string): Promise<string> => {
      const answer = (await call('key.decrypt', { key }, { ciphertext })) as { plaintext: string };
      return Buffer.from(answer.plaintext, 'base64').toString();
    },
    backup: (body: object) =>
      call('backup.create', {}, { label: '', ...body }) as Promise<StreamAnswer>,
    moveRootKey: (to: string) => call('root-key.move', {}, { to }) as Promise<MovedRootKey>,
    /** Destroys a key at once, as after its waiting time. */
    destroy: async (key: string) => {
      await call('key.destroy', { key }, {});
      clock.advance(400 * 86_400);
      await destruction.run();
    },
    close: async () => {
      await record.stop();
      await storage.close();
      await rootKeys.close();
    },
  };
}

/** Writes an answer to a file, as a client does. */
export async function saveAnswer(answer: StreamAnswer, path: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  for await (const chunk of answer.body) await file.write(chunk);
  await file.close();
}

/** All bytes of a stream. */
export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
