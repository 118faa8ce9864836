import { createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ResponseOf } from '../../api/route.ts';
import { keyCreateBody, type keyRoutes } from '../../api/routes/keys.ts';
import type { useRoutes } from '../../api/routes/use.ts';
import type { Routes } from '../../api/routes.ts';
import type { StorageTable } from '../../api/storage-classes.ts';
import { TestClock } from '../../test/test-clock.ts';
import { entryEncoder } from '../audit/audit.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import { Commands, type Gate } from '../commands/commands.ts';
import {
  createFileKeystore,
  createWrappedKeystore,
  type Keystore,
  Keystores,
  StoreKeys,
} from '../keystores/keystores.ts';
import { openStorage, type Storage } from '../storage/storage.ts';
import { createKeyHandlers, createUse, Keys, type KeysOptions } from './keys.ts';

export { TestClock };

type KeyRoute = keyof typeof keyRoutes | keyof typeof useRoutes;

export interface TestKeysOptions {
  readonly folder?: string;
  readonly storeKey?: Buffer;
  /** PostgreSQL instead of SQLite in the folder. */
  readonly databaseUrl?: string;
  readonly storageTable?: StorageTable;
  /** Keystores beside `wrapped` and `file`. */
  readonly furtherKeystores?: readonly Keystore[];
  /** What commands are held by; nothing where left out. */
  readonly gate?: Gate;
  readonly destructionGuards?: (storage: Storage) => NonNullable<KeysOptions['destructionGuards']>;
}

/** Keys over a real database in a folder of its own, with rights that a test can take away. */
export async function openTestKeys(options: TestKeysOptions = {}) {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'keyreeve-keys-'));
  const storeKey = options.storeKey ?? randomBytes(32);
  const clock = new TestClock();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const storage = await openStorage({
    dataFolder: folder,
    clock,
    entryEncoder,
    log,
    ...(options.databaseUrl === undefined ? {} : { databaseUrl: options.databaseUrl }),
  });
  const storeKeys = new StoreKeys(new Map([['sto_1', createSecretKey(storeKey)]]), 'sto_1');
  const keystores = new Keystores([
    createWrappedKeystore(storeKeys),
    createFileKeystore({ folder: join(folder, 'files') }),
    ...(options.furtherKeystores ?? []),
  ]);
  const rights: {
    authorise: Authorise;
    recheck: (caller: Caller) => Promise<void>;
    requireClock: () => void;
  } = {
    requireClock: () => undefined,
    authorise: () => undefined,
    recheck: async () => undefined,
  };
  const authorise: Authorise = (...asked) => rights.authorise(...asked);
  const keys = new Keys({
    storage,
    keystores,
    clock,
    authorise,
    sealer: storeKeys,
    principalId: async (reference) => reference,
    ...(options.storageTable === undefined ? {} : { storageTable: options.storageTable }),
    ...(options.destructionGuards === undefined
      ? {}
      : { destructionGuards: options.destructionGuards(storage) }),
  });
  const commands = new Commands({
    storage,
    clock,
    authorise,
    stillAllowed: () => [],
    sealer: storeKeys,
    requireClock: () => undefined,
    ...(options.gate === undefined ? {} : { gate: options.gate }),
  });
  const handlers = {
    ...createKeyHandlers(keys, commands),
    ...createUse({
      keys,
      clock,
      requireClock: () => rights.requireClock(),
      recheck: (caller) => rights.recheck(caller),
    }),
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
  const create = (body: Record<string, unknown>, idempotencyKey?: string) =>
    handlers['key.create']({
      caller: caller(),
      params: {},
      query: {},
      body: keyCreateBody.parse(body),
      idempotencyKey,
    });
  /** Any other route of a key. */
  const call = <Id extends KeyRoute>(
    id: Id,
    key: string,
    body: object = {},
    idempotencyKey?: string,
    query: object = {},
  ): Promise<ResponseOf<Routes[Id]>> =>
    (handlers[id] as unknown as (call: object) => Promise<ResponseOf<Routes[Id]>>)({
      caller: caller(),
      params: { key },
      query,
      body,
      idempotencyKey,
    });
  const close = async () => {
    await storage.close();
    if (options.folder === undefined) await rm(folder, { recursive: true });
  };
  return {
    folder,
    storeKey,
    clock,
    storage,
    keystores,
    keys,
    commands,
    handlers,
    rights,
    caller,
    create,
    call,
    close,
  };
}

/** The entries that wait for their place, newest last, as the test reads them. */
export async function countEntries(storage: Storage): Promise<number> {
  const row = await storage.db
    .selectFrom('entry_tail')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return Number(row.count);
}
