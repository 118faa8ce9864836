import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import type { AuditRecord } from '../audit/audit.ts';
import type { Authorise } from '../base/caller.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { Keys } from '../keys/keys.ts';
import {
  healthWithin,
  type Keystores,
  nameSealLocation,
  type RootKey,
  type RootKeyGuard,
  type SealLocation,
} from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';

export interface StatusOptions {
  readonly version: string;
  readonly installationId: string;
  readonly startedAt: number;
  readonly storage: Storage;
  readonly keystores: Keystores;
  readonly keys: Keys;
  /** The one in force. */
  readonly rootKey: () => Promise<RootKey>;
  /** Whether a root key in this folder lies on the same disk as the data. */
  readonly isSameDisk: (folder: string) => boolean;
  readonly record: AuditRecord;
  readonly tlsExpiresAt: () => number;
  /** What belongs to the certificate authorities. */
  readonly certificates: () => Promise<CertificateStatus>;
  readonly authorise: Authorise;
  readonly clock: Clock;
}

/** The parts of the answer that the folder of certificates knows. */
type CertificateStatus = Pick<ResponseOf<Routes['status']>, 'authorities' | 'publication'>;

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
        rootKey: await describeRootKey(await options.rootKey(), options.isSameDisk),
        keystores: await describeKeystores(options.keystores),
        record: await describeRecord(storage, record),
        keys: await countKeys(options),
        ...(await options.certificates()),
        backup: { lastAt: await lastBackup(storage) },
        tls: { expiresAt: formatTime(options.tlsExpiresAt()) },
        epoch: storage.epoch,
      };
    },
  };
}

/** A token that hangs must not hold up what says so. */
const keystoreMilliseconds = 2000;

/** What each kind of place protects, and how to do better. */
const protections = {
  'same-disk': {
    protects: 'same disk: protects backups only',
    advice: 'Give it at start (KEYREEVE_SEAL=credential:NAME), or keep its folder on another disk.',
  },
  file: {
    protects: 'another disk: protects the data disk and backups',
    advice: 'Keep a copy of the root key in a safe: without it the data cannot be opened.',
  },
  'given-at-start': {
    protects: 'disk and backups: it is given at each start',
    advice: 'Keep a copy of the root key in a safe: without it the data cannot be opened.',
  },
  'software-token': {
    protects: 'what its own files are kept from: the token is a program',
    advice: 'Move it to an HSM or a TPM: keyreeve root-key move.',
  },
  token: {
    protects: 'disk, backups and memory: it never leaves its token',
    advice:
      'Without this token the data cannot be opened: keep backups of the token, or move the root key before the token is given up.',
  },
} as const satisfies Record<RootKeyGuard | 'same-disk', { protects: string; advice: string }>;

const kinds = {
  folder: 'file',
  environment: 'environment',
  credential: 'credential',
  token: 'pkcs11',
} as const satisfies Record<SealLocation['kind'], string>;

async function describeRootKey(rootKey: RootKey, isSameDisk: StatusOptions['isSameDisk']) {
  const { location, guard, fingerprint } = rootKey;
  const health = await healthWithin(rootKey, keystoreMilliseconds);
  const isNear = location.kind === 'folder' && isSameDisk(location.path);
  return {
    kind: kinds[location.kind],
    location: nameSealLocation(location),
    fingerprint,
    ...protections[isNear ? 'same-disk' : guard],
    ready: health.ready,
    reason: health.reason ?? null,
  };
}

async function describeKeystores(keystores: Keystores) {
  return Promise.all(
    keystores.all().map(async (keystore) => {
      const health = await healthWithin(keystore, keystoreMilliseconds);
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
