import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import type { KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Storage } from './contract.ts';
import { acquireLease, type Lease, releaseLease, renewLease } from './lease.ts';

/** A process that died leaves its work to others after that. */
const heldLeaseSeconds = 30;
const renewMilliseconds = 10_000;
const lookAgainMilliseconds = 200;

export interface HeldLeaseOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly name: string;
  /** What to say where another process is at it. */
  readonly busy: () => KeyreeveError;
  /** How long to wait for it before that is said (0). */
  readonly waitSeconds?: number;
}

/**
 * Does what one process of all may do at a time, under a lease that is renewed for as long as it
 * takes. SQLite has one process: what that does twice at a time is its own affair.
 */
export async function underLease<Result>(
  options: HeldLeaseOptions,
  work: () => Promise<Result>,
): Promise<Result> {
  const { storage, clock } = options;
  if (storage.dialect === 'sqlite') return work();
  let lease = await take(options);
  const timer = setInterval(() => {
    // Work that is slower than its lease is guarded by the expectations of its writes.
    renewLease(storage, lease, heldLeaseSeconds, clock).then(
      (renewed) => {
        lease = renewed ?? lease;
      },
      () => undefined,
    );
  }, renewMilliseconds);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    // It ends by itself where the database is away.
    await releaseLease(storage, lease).catch(() => undefined);
  }
}

async function take(options: HeldLeaseOptions): Promise<Lease> {
  const { storage, clock, name, busy, waitSeconds = 0 } = options;
  // Not the node: it may ask twice.
  const holder = newId('req');
  const end = clock.monotonic() + waitSeconds * 1000;
  for (;;) {
    const lease = await acquireLease(storage, name, holder, heldLeaseSeconds, clock);
    if (lease !== undefined) return lease;
    if (clock.monotonic() >= end) throw busy();
    await sleep(lookAgainMilliseconds);
  }
}
