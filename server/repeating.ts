import { sql } from 'kysely';
import type { Logger } from 'pino';
import type { Access } from './access/access.ts';
import type { Alerts } from './alerts/alerts.ts';
import type { Approvals } from './approvals/approvals.ts';
import type { AuditRecord } from './audit/audit.ts';
import type { Clock } from './base/clock.ts';
import { type ClockGuard, clockWarnSeconds } from './base/clock-guard.ts';
import type { Commands } from './commands/commands.ts';
import { createDestruction, createDueRotations, type Keys } from './keys/keys.ts';
import type { StoreKeys } from './keystores/keystores.ts';
import { createTlsExpiry, type Pki, type SystemTls } from './pki/pki.ts';
import { createTombstones } from './recovery/recovery.ts';
import { Schedule, type Timer } from './schedule/schedule.ts';
import { fenceStep, type Storage } from './storage/storage.ts';

/** How often everything is looked at; what is due when: docs/schedule.md. */
const alertSeconds = 1;
const approvalSeconds = 60;
const destructionSeconds = 10;
const forgettingSeconds = 10;
const tombstoneSeconds = 60;
const rotationSeconds = 60;
const clockCompareSeconds = 10;
const cleaningSeconds = 600;
const publishingSeconds = 1;
const expirySeconds = 3600;
const purgingSeconds = 3600;
const renewalSeconds = 3600;
const checkpointSeconds = 60;

export interface RepeatingOptions {
  readonly storage: Storage;
  readonly storeKeys: StoreKeys;
  readonly clock: Clock;
  readonly guard: ClockGuard;
  readonly log: Logger;
  readonly keys: Keys;
  readonly access: Access;
  readonly approvals: Approvals;
  readonly commands: Commands;
  readonly pki: Pki;
  readonly tls: SystemTls;
  readonly alerts: Alerts;
  readonly record: AuditRecord;
  readonly checkpoints: string;
  readonly reloadTls: () => void;
  readonly timer?: Timer;
  /** How often the service's own certificate is looked at. */
  readonly renewalSeconds?: number;
}

/** Starts all that the service does by itself, again and again. */
export function startRepeating(options: RepeatingOptions): Schedule {
  const { storage, clock, log, timer } = options;
  const schedule = new Schedule({
    ...{ storage, clock, log },
    ...(timer === undefined ? {} : { timer }),
  });
  repeatOnEachNode(schedule, options);
  repeatOnOneNode(schedule, options);
  repeatForKeys(schedule, options);
  return schedule;
}

/** What concerns the node itself. */
function repeatOnEachNode(schedule: Schedule, options: RepeatingOptions): void {
  const { storage, clock, guard, log, keys, pki, tls, record } = options;
  const tellTlsExpiry = createTlsExpiry(storage, clock);
  schedule.everywhere('serving CRLs', publishingSeconds, () => pki.refresh());
  schedule.everywhere('forgetting destroyed keys', forgettingSeconds, () => keys.forgetDestroyed());
  schedule.everywhere(
    'renewing the certificate',
    options.renewalSeconds ?? renewalSeconds,
    async () => {
      // A certificate by a wrong clock is one that nobody takes.
      if (guard.isUnsafe) return;
      try {
        if (await tls.renewIfDue()) options.reloadTls();
      } finally {
        await tellTlsExpiry(tls.expiresAt);
      }
    },
  );
  schedule.everywhere('comparing clocks', clockCompareSeconds, () =>
    compareClocks(storage, clock, guard, log),
  );
  schedule.show('publishing checkpoints', checkpointSeconds, () => {
    const problem = record.health().problems.find(({ code }) => code === 'checkpoint-folder');
    return {
      succeededAt: record.publishedAt ?? null,
      failures: problem === undefined ? 0 : 1,
      reason: problem?.message ?? null,
    };
  });
}

/** What one node does for all. */
function repeatOnOneNode(schedule: Schedule, options: RepeatingOptions): void {
  const { storage, access, commands, pki } = options;
  const once = inTime(schedule, options);
  once('forgetting what expired', cleaningSeconds, () =>
    storage.commit({ steps: [...access.expired(), commands.expired()], entries: [] }),
  );
  once('expiring approvals', approvalSeconds, () => options.approvals.expire());
  schedule.once('delivering alerts', alertSeconds, () => options.alerts.round());
  once('publishing CRLs', publishingSeconds, () => pki.publishDue());
  once('forgetting expired certificates', purgingSeconds, () => pki.purge());
  once('looking for overdue reviews', expirySeconds, async (lease) => {
    if (!options.guard.isUnsafe)
      await options.alerts.tellOverdueReviews([fenceStep(storage, lease)]);
  });
  once('looking for CA certificates that end', expirySeconds, (lease) =>
    pki.tellExpiring([fenceStep(storage, lease)]),
  );
}

/** What the policies of keys and the requests of people make due. */
function repeatForKeys(schedule: Schedule, options: RepeatingOptions): void {
  const { storage, storeKeys, clock, guard, log, keys } = options;
  const once = inTime(schedule, options);
  const isClockUnsafe = () => guard.isUnsafe;
  const tombstones = createTombstones({ folder: options.checkpoints, storage, sealer: storeKeys });
  const destruction = createDestruction({
    keys,
    clock,
    bury: (tombstone) => tombstones.bury(tombstone),
    isClockUnsafe,
  });
  schedule.everywhere('keeping tombstones', tombstoneSeconds, () => tombstones.follow());
  const rotations = createDueRotations({ keys, log, isClockUnsafe });
  once('destroying keys that are due', destructionSeconds, () => destruction.run());
  once('rotating keys that are due', rotationSeconds, (lease) =>
    rotations.run([fenceStep(storage, lease)]),
  );
}

/**
 * Work that goes by the clock: a node whose clock cannot be trusted leaves it to the others, since
 * work that fails lets go of its lease.
 */
function inTime(schedule: Schedule, { guard }: RepeatingOptions): Schedule['once'] {
  return (name, everySeconds, work) =>
    schedule.once(name, everySeconds, async (lease) => {
      guard.require();
      return work(lease);
    });
}

async function compareClocks(
  storage: Storage,
  clock: Clock,
  guard: ClockGuard,
  log: Logger,
): Promise<void> {
  if (storage.dialect === 'postgres') {
    const { rows } = await sql<{ now: number }>`
      SELECT EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS now`.execute(storage.db);
    guard.compare(Number(rows[0]!.now), clock.now());
  }
  if (Math.abs(guard.skewSeconds) >= clockWarnSeconds) {
    log.warn({ skewSeconds: guard.skewSeconds }, 'the clock is off');
  }
}
