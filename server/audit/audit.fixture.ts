import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import type { EntryDraft } from '../../api/entry.ts';
import { type Clock, formatTime, systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { openStorage, type Storage } from '../storage/storage.ts';
import { type AuditOptions, type AuditRecord, createRecord, entryEncoder } from './audit.ts';
import type { Sealer } from './log-key.ts';

/** For the tests of this folder: a record over a real SQLite database in folders of its own. */
export interface Bench {
  readonly folder: string;
  readonly data: string;
  readonly checkpoints: string;
  readonly storage: Storage;
  readonly record: AuditRecord;
  /** Commits entries in groups. */
  add(count: number, fields?: Partial<EntryDraft>): Promise<EntryDraft[]>;
  /** Stops record and storage and opens both anew, `change` being done in between. */
  reopen(change?: (database: DatabaseSync) => void): Promise<Bench>;
}

export const installationId = 'ins_aaaaaaaaaaaaaaaaaaaaaaaaaa';
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const sealingKey = randomBytes(32);

/** AES-256-GCM under a key that lasts as long as the tests. */
export const testSealer: Sealer = {
  seal(secret, context) {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce).setAAD(Buffer.from(context));
    const body = Buffer.concat([cipher.update(secret.reveal()), cipher.final()]);
    return Buffer.concat([nonce, body, cipher.getAuthTag()]);
  },
  unseal(sealed, context) {
    const bytes = Buffer.from(sealed);
    const cipher = createDecipheriv('aes-256-gcm', sealingKey, bytes.subarray(0, 12));
    cipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(-16));
    return new SecretBytes(Buffer.concat([cipher.update(bytes.subarray(12, -16)), cipher.final()]));
  },
};

export interface BenchOptions extends Partial<AuditOptions> {
  readonly folder?: string;
  /** PostgreSQL instead of SQLite. */
  readonly databaseUrl?: string;
  /** False to leave the record unstarted. */
  readonly start?: boolean;
}

export async function makeBench(t: TestContext, options: BenchOptions = {}): Promise<Bench> {
  const folder = options.folder ?? (await makeFolder(t));
  return openBench(t, folder, options);
}

export async function makeFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'keyreeve-audit-'));
  cleanUp(t, () => rm(folder, { recursive: true, force: true }));
  return folder;
}

export function makeDraft(
  index: number,
  clock: Clock,
  fields: Partial<EntryDraft> = {},
): EntryDraft {
  return {
    id: newId('ent'),
    time: formatTime(clock.now()),
    kind: 'use',
    action: 'key.sign',
    outcome: 'ok',
    principalId: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa',
    principalName: 'Build server \u{1f3d7}',
    address: '192.0.2.17',
    correlationId: newId('req'),
    keyId: `key_${'abcdefghij'[index % 10]}`.padEnd(30, 'a'),
    keyName: 'code-signing/windows',
    keyVersion: '3',
    inputDigest: 'ab'.repeat(32),
    digestKey: 'cd'.repeat(32),
    ...fields,
  };
}

const cleanUps = new WeakMap<TestContext, (() => Promise<void>)[]>();

/** Runs after the test, the last given first: a folder goes when nobody writes to it any more. */
function cleanUp(t: TestContext, work: () => Promise<void>): void {
  const known = cleanUps.get(t);
  if (known !== undefined) {
    known.push(work);
    return;
  }
  const list = [work];
  cleanUps.set(t, list);
  t.after(async () => {
    for (const one of list.reverse()) await one();
  });
}

async function openBench(t: TestContext, folder: string, options: BenchOptions): Promise<Bench> {
  const data = join(folder, 'data');
  const checkpoints = join(folder, 'published');
  const clock = options.clock ?? systemClock;
  const { start, folder: _, databaseUrl, ...auditOptions } = options;
  const storage = await openStorage({
    dataFolder: data,
    clock,
    log: silent,
    entryEncoder,
    ...(databaseUrl !== undefined && { databaseUrl }),
  });
  const record = createRecord({
    storage,
    clock,
    installationId,
    holder: newId('req'),
    sealer: testSealer,
    checkpointFolder: checkpoints,
    ...auditOptions,
  });
  let open = true;
  const close = async () => {
    if (!open) return;
    open = false;
    await record.stop();
    await storage.close();
  };
  cleanUp(t, close);
  if (start !== false) await record.start();
  return {
    folder,
    data,
    checkpoints,
    storage,
    record,
    async add(count, fields) {
      const drafts = Array.from({ length: count }, (_, index) => makeDraft(index, clock, fields));
      for (let at = 0; at < count; at += 50) {
        await storage.commit({ steps: [], entries: drafts.slice(at, at + 50) });
      }
      return drafts;
    },
    async reopen(change) {
      await close();
      if (change !== undefined) changeDatabase(data, change);
      return openBench(t, folder, options);
    },
  };
}

/** Changes the database behind the back of the product. */
export function changeDatabase(data: string, change: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(join(data, 'keyreeve.db'));
  try {
    change(database);
  } finally {
    database.close();
  }
}
