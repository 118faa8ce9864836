import { sql } from 'kysely';
import type { Logger } from 'pino';
import type { Access } from './access/access.ts';
import type { Clock } from './base/clock.ts';
import { type ClockGuard, clockWarnSeconds } from './base/clock-guard.ts';
import type { Commands } from './commands/commands.ts';
import { createDestruction, type Keys } from './keys/keys.ts';
import type { StoreKeys } from './keystores/keystores.ts';
import type { Pki, SystemTls } from './pki/pki.ts';
import { createTombstones } from './recovery/recovery.ts';
import { Schedule } from './schedule/schedule.ts';
import type { Storage } from './storage/storage.ts';

const destructionSeconds = 10;
const clockCompareSeconds = 10;
const cleaningSeconds = 600;
const publishingSeconds = 1;
const purgingSeconds = 3600;
const renewalSeconds = 3600;

export interface RepeatingOptions {
  readonly storage: Storage;
  readonly storeKeys: StoreKeys;
  readonly clock: Clock;
  readonly guard: ClockGuard;
  readonly log: Logger;
  readonly keys: Keys;
  readonly access: Access;
  readonly commands: Commands;
  readonly pki: Pki;
  readonly tls: SystemTls;
  readonly checkpoints: string;
  readonly reloadTls: () => void;
  /** How often the service's own certificate is looked at. */
  readonly renewalSeconds?: number;
}

/** Starts all that the service does by itself, again and again. */
export function startRepeating(options: RepeatingOptions): { stop(): Promise<void> } {
  const { storage, storeKeys, clock, guard, log, keys, access, commands, pki, tls } = options;
  const schedule = new Schedule(log);
  const tombstones = createTombstones({ folder: options.checkpoints, storage, sealer: storeKeys });
  const destruction = createDestruction({
    keys,
    clock,
    bury: (tombstone) => tombstones.bury(tombstone),
    isClockUnsafe: () => guard.isUnsafe,
  });
  schedule.every('destroying keys that are due', destructionSeconds, () => destruction.run());
  schedule.every('forgetting what expired', cleaningSeconds, () =>
    storage.commit({ steps: [...access.expired(), commands.expired()], entries: [] }),
  );
  schedule.every('publishing CRLs', publishingSeconds, () => pki.round());
  schedule.every('forgetting expired certificates', purgingSeconds, () => pki.purge());
  schedule.every('renewing the certificate', options.renewalSeconds ?? renewalSeconds, async () => {
    // A certificate by a wrong clock is one that nobody takes.
    if (guard.isUnsafe) return;
    if (await tls.renewIfDue()) options.reloadTls();
  });
  schedule.every('comparing clocks', clockCompareSeconds, () =>
    compareClocks(storage, clock, guard, log),
  );
  return { stop: () => schedule.stop() };
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
