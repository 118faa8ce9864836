import type { Clock } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import type { Step, Storage } from './contract.ts';

/** The right to do a job that one process alone may do at a time. */
export interface Lease {
  readonly name: string;
  readonly holder: string;
  /** Grows with every new holder: a write that carries an old one is refused. */
  readonly fence: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const lostLease = { code: 'conflict', message: 'another process holds the lease now' } as const;

/**
 * Takes the lease if it is free, has ended, or is this holder's own; undefined where another holds
 * it. Each taking raises the fence.
 */
export async function acquireLease(
  storage: Storage,
  name: string,
  holder: string,
  ttlSeconds: number,
  clock: Clock,
): Promise<Lease | undefined> {
  const now = clock.now();
  const expiresAt = now + ttlSeconds * 1000;
  const { db } = storage;
  const found = await db
    .selectFrom('lease')
    .select(['holder', 'fence', 'expires_at'])
    .where('name', '=', name)
    .executeTakeFirst();
  if (found !== undefined && found.expires_at > now && found.holder !== holder) return undefined;
  const fence = (found?.fence ?? 0) + 1;
  const query =
    found === undefined
      ? db.insertInto('lease').values({ name, holder, fence, expires_at: expiresAt }).compile()
      : db
          .updateTable('lease')
          .set({ holder, fence, expires_at: expiresAt })
          .where('name', '=', name)
          .where('fence', '=', found.fence)
          .where('expires_at', '=', found.expires_at)
          .compile();
  const taken = await commitUnlessLost(storage, { query, expect: { rows: 1, ...lostLease } });
  return taken ? { name, holder, fence, expiresAt } : undefined;
}

/** Holds on to the lease for another while; undefined where it was lost. */
export async function renewLease(
  storage: Storage,
  lease: Lease,
  ttlSeconds: number,
  clock: Clock,
): Promise<Lease | undefined> {
  const expiresAt = clock.now() + ttlSeconds * 1000;
  const renewed = await commitUnlessLost(storage, setEnd(storage, lease, expiresAt));
  return renewed ? { ...lease, expiresAt } : undefined;
}

/** Lets go of the lease, so that the next holder need not wait for its end. */
export async function releaseLease(storage: Storage, lease: Lease): Promise<void> {
  await commitUnlessLost(storage, setEnd(storage, lease, 0));
}

/** A step that refuses its write (`conflict`) where the lease has got another holder meanwhile. */
export function fenceStep(storage: Storage, lease: Lease): Step {
  const query = storage.db
    .selectFrom('lease')
    .select('fence')
    .where('name', '=', lease.name)
    .where('fence', '=', lease.fence)
    .compile();
  return { query, expect: { rows: 1, ...lostLease } };
}

function setEnd(storage: Storage, lease: Lease, expiresAt: number): Step {
  const query = storage.db
    .updateTable('lease')
    .set({ expires_at: expiresAt })
    .where('name', '=', lease.name)
    .where('fence', '=', lease.fence)
    .compile();
  return { query, expect: { rows: 1, ...lostLease } };
}

async function commitUnlessLost(storage: Storage, step: Step): Promise<boolean> {
  try {
    await storage.commit({ steps: [step], entries: [] });
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'conflict')) return false;
    throw error;
  }
}
