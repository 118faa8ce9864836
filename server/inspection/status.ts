import { systemFolder } from '../../api/roles.ts';
import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import type { AuditRecord } from '../audit/audit.ts';
import type { Authorise } from '../base/caller.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { Keys } from '../keys/keys.ts';
import {
  healthWithin,
  isReviewOverdue,
  type Keystores,
  nameSealLocation,
  type ReviewFacts,
  type RootKey,
  type RootKeyGuard,
  readReviews,
  reviewDueAt,
  type SealLocation,
} from '../keystores/keystores.ts';
import type { NodeState } from '../nodes/nodes.ts';
import type { JobState } from '../schedule/schedule.ts';
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
  /** What waits until others agree. */
  readonly approvals: () => Promise<ResponseOf<Routes['status']>['approvals']>;
  /** Who is told of alerts, and whether it arrives. */
  readonly alerts: () => Promise<ResponseOf<Routes['status']>['alerts']>;
  /** What repeats, and how it stands. */
  readonly jobs: () => Promise<readonly JobState[]>;
  /** The processes that serve the database. */
  readonly nodes: () => Promise<readonly NodeState[]>;
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
        keystores: await describeKeystores(options),
        record: await describeRecord(storage, record),
        keys: await countKeys(options),
        ...(await options.certificates()),
        nodes: (await options.nodes()).map(describeNode),
        jobs: (await options.jobs()).map(describeJob),
        backup: { lastAt: await lastBackup(storage) },
        approvals: await options.approvals(),
        alerts: await options.alerts(),
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

async function describeKeystores({ storage, keystores, clock }: StatusOptions) {
  const reviews = await readReviews(storage);
  return Promise.all(
    keystores.all().map(async (keystore) => {
      const health = await healthWithin(keystore, keystoreMilliseconds);
      return {
        name: keystore.name,
        kind: keystore.kind,
        ready: health.ready,
        reason: health.reason ?? null,
        ...describeReview(reviews.get(keystore.name), clock.now()),
      };
    }),
  );
}

function describeReview(facts: ReviewFacts | undefined, now: number) {
  const dueAt = facts === undefined ? null : reviewDueAt(facts);
  return {
    reviewDueAt: dueAt === null ? null : formatTime(dueAt),
    reviewOverdue: facts !== undefined && isReviewOverdue(facts, now),
  };
}

function describeNode({ id, name, version, startedAt, seenAt, isThis }: NodeState) {
  return {
    ...{ id, name, version },
    startedAt: formatTime(startedAt),
    seenAt: formatTime(seenAt),
    isThis,
  };
}

function describeJob(job: JobState) {
  const { name, scope, everySeconds, node, failures, reason } = job;
  const time = (at: number | null) => (at === null ? null : formatTime(at));
  return {
    ...{ name, scope, everySeconds, node },
    startedAt: time(job.startedAt),
    succeededAt: time(job.succeededAt),
    nextAt: time(job.nextAt),
    ...{ failures, reason },
  };
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

/** Of a million keys too: counted in indexes alone, since all reads wait for this one. */
async function countKeys({ storage, keys, clock }: StatusOptions) {
  const rows = storage.db
    .selectFrom('key')
    .select((expression) => expression.fn.countAll<number>().as('count'));
  // '0' follows '/': the names below the folder, by the index on names.
  const own = rows
    .where('name', '>', `${systemFolder}/`)
    .where('name', '<', `${systemFolder}0`)
    .where('folder', '=', systemFolder);
  const pending = rows.where('destroy_at', 'is not', null).where('folder', '!=', systemFolder);
  const count = async (query: typeof rows) => Number((await query.executeTakeFirstOrThrow()).count);
  return {
    total: (await count(rows)) - (await count(own)),
    pendingDestruction: await count(pending),
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
