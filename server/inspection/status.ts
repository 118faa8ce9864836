import type { AuditRecord } from '../audit/audit.ts';
import type { Authorise } from '../base/caller.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { Keys } from '../keys/keys.ts';
import { formatSealLocation, type Keystores, type RootKey } from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';

export interface StatusOptions {
  readonly version: string;
  readonly installationId: string;
  readonly startedAt: number;
  readonly storage: Storage;
  readonly keystores: Keystores;
  readonly keys: Keys;
  readonly rootKey: RootKey;
  /** True where the root key lies on the same disk as the data. */
  readonly isSameDisk: boolean;
  readonly record: AuditRecord;
  readonly tlsExpiresAt: () => number;
  readonly authorise: Authorise;
  readonly clock: Clock;
}

/** What an operator looks at first: what is well, what protects it, what is due. */
export function createStatusHandler(options: StatusOptions): Handlers<'status'> {
  return {
    status: async ({ caller }) => {
      options.authorise(caller, 'status.show', { type: 'system' });
      const { storage, record } = options;
      const health = storage.health();
      return {
        version: options.version,
        installation: options.installationId,
        startedAt: formatTime(options.startedAt),
        database: {
          dialect: storage.dialect,
          ready: health.ready,
          reason: health.reason ?? null,
          waiting: health.waiting,
        },
        rootKey: describeRootKey(options),
        keystores: await describeKeystores(options.keystores),
        record: await describeRecord(storage, record),
        keys: await countKeys(options),
        backup: { lastAt: await lastBackup(storage) },
        tls: { expiresAt: formatTime(options.tlsExpiresAt()) },
        epoch: storage.epoch,
      };
    },
  };
}

function describeRootKey({ rootKey, isSameDisk }: StatusOptions) {
  const isFile = rootKey.location.kind === 'folder';
  return {
    kind: isFile ? 'file' : rootKey.location.kind,
    location: formatSealLocation(rootKey.location),
    fingerprint: rootKey.fingerprint,
    protects: !isFile
      ? 'disk and backups: it is given at each start'
      : isSameDisk
        ? 'same disk: protects backups only'
        : 'another disk: protects the data disk and backups',
    advice:
      isFile && isSameDisk
        ? 'Give it at start (KEYREEVE_SEAL=credential:NAME), or keep its folder on another disk.'
        : 'Keep a copy of the root key in a safe: without it the data cannot be opened.',
  };
}

async function describeKeystores(keystores: Keystores) {
  return Promise.all(
    keystores.all().map(async (keystore) => {
      const health = await keystore.health();
      return {
        name: keystore.name,
        kind: keystore.kind,
        ready: health.ready,
        reason: health.reason ?? null,
      };
    }),
  );
}

async function describeRecord(storage: Storage, record: AuditRecord) {
  const tree = await storage.db.selectFrom('tree').select(['origin', 'size']).executeTakeFirst();
  const tail = await storage.db
    .selectFrom('entry_tail')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  const problems = record.health().problems.map((problem) => problem.message);
  return {
    origin: tree?.origin ?? '',
    size: tree?.size ?? 0,
    waiting: Number(tail.count),
    publishedAt: record.publishedAt === undefined ? null : formatTime(record.publishedAt),
    reason: problems.length === 0 ? null : problems.join(' '),
  };
}

async function countKeys({ storage, keys, clock }: StatusOptions) {
  const count = async (onlyPending: boolean): Promise<number> => {
    let query = storage.db
      .selectFrom('key')
      .select((expression) => expression.fn.countAll<number>().as('count'))
      .where('folder', '!=', 'system');
    if (onlyPending) query = query.where('destroy_at', 'is not', null);
    return Number((await query.executeTakeFirstOrThrow()).count);
  };
  return {
    total: await count(false),
    pendingDestruction: await count(true),
    rotationDue: await keys.store.countRotationDue(clock.now()),
  };
}

async function lastBackup(storage: Storage): Promise<string | null> {
  const row = await storage.db
    .selectFrom('backup')
    .select('created_at')
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? null : formatTime(row.created_at);
}
