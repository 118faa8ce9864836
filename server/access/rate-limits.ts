import { isIP } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { LruMap } from '../base/lru-map.ts';
import type { Step, Storage } from '../storage/storage.ts';

export interface RateLimits {
  /** Logins that an address block may try in a window; a login that works clears its count. */
  readonly loginAttemptsMax: number;
  readonly loginWindowSeconds: number;
  /** Wrong tokens from an address block before it has to wait ... */
  readonly wrongTokensMax: number;
  /** ... and after how long each one more is taken. */
  readonly wrongTokenSeconds: number;
}

export const defaultRateLimits: RateLimits = {
  loginAttemptsMax: 10,
  loginWindowSeconds: 900,
  wrongTokensMax: 30,
  wrongTokenSeconds: 2,
};

/** Address blocks whose wrong tokens are counted in memory. */
export const addressBlocksMax = 20_000;

const loginBuckets = 'login ';

/**
 * What one party can be expected to hold: an IPv4 address, the /64 of an IPv6 address (RFC 6177).
 * IPv4 addresses in IPv6 form count as what they are. Anything else (a socket's path) as it is.
 */
export function addressBlock(address: string): string {
  const plain = address.split('%')[0]!;
  const kind = isIP(plain);
  if (kind !== 6) return kind === 4 ? plain : address;
  const groups = expand(plain);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return [groups[6]! >> 8, groups[6]! & 0xff, groups[7]! >> 8, groups[7]! & 0xff].join('.');
  }
  const prefix = groups.slice(0, 4).map((group) => group.toString(16));
  return `${prefix.join(':')}::/64`;
}

/** The eight groups of a valid IPv6 address (RFC 4291, section 2.2). */
function expand(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const before = groupsOf(head);
  if (tail === undefined) return before;
  const after = groupsOf(tail);
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a, b, c, d] = group.split('.').map(Number);
    return [(a! << 8) | b!, (c! << 8) | d!];
  });
}

/** Counts wrong tokens by address block, in this process: a bucket that fills again with time. */
export class WrongTokens {
  readonly #clock: Clock;
  readonly #limits: RateLimits;
  readonly #buckets = new LruMap<string, { left: number; at: number }>(addressBlocksMax);

  constructor(clock: Clock, limits: RateLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Throws `rate-limited` where this block has sent too many. */
  check(address: string): void {
    const left = this.#left(addressBlock(address));
    if (left >= 1) return;
    throw rateLimited(
      'Too many wrong tokens came from this address.',
      Math.ceil((1 - left) * this.#limits.wrongTokenSeconds),
    );
  }

  /** Counts one more. */
  count(address: string): void {
    const block = addressBlock(address);
    this.#buckets.set(block, { left: this.#left(block) - 1, at: this.#clock.monotonic() });
  }

  #left(block: string): number {
    const { wrongTokensMax, wrongTokenSeconds } = this.#limits;
    const bucket = this.#buckets.get(block);
    if (bucket === undefined) return wrongTokensMax;
    const refilled = (this.#clock.monotonic() - bucket.at) / (wrongTokenSeconds * 1000);
    return Math.min(wrongTokensMax, bucket.left + refilled);
  }
}

/** Counts logins by address block in the database, so that all processes count together. */
export class LoginAttempts {
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #limits: RateLimits;

  constructor(storage: Storage, clock: Clock, limits: RateLimits) {
    this.#storage = storage;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Counts an attempt before it is looked at. Throws `rate-limited` where there were too many. */
  async take(address: string): Promise<void> {
    try {
      await this.#storage.commit({ steps: this.#takeSteps(address), entries: [] });
    } catch (error) {
      if (!(error instanceof KeyreeveError) || error.code !== 'rate-limited') throw error;
      throw rateLimited(error.message, await this.#secondsLeft(address));
    }
  }

  /** Forgets the attempts of an address: part of the write of a login that worked. */
  clear(address: string): Step {
    const query = this.#storage.db
      .deleteFrom('rate_bucket')
      .where('bucket', '=', bucketOf(address))
      .compile();
    return { query };
  }

  /** Forgets windows that are over. */
  expired(): Step {
    const over = this.#clock.now() - this.#limits.loginWindowSeconds * 1000;
    const query = this.#storage.db
      .deleteFrom('rate_bucket')
      .where('bucket', 'like', `${loginBuckets}%`)
      .where('window_start', '<=', over)
      .compile();
    return { query };
  }

  #takeSteps(address: string): Step[] {
    const now = this.#clock.now();
    const query = this.#storage.db
      .insertInto('rate_bucket')
      .values({ bucket: bucketOf(address), window_start: now, count: 1 })
      .onConflict((conflict) =>
        conflict
          .column('bucket')
          .doUpdateSet((set) => ({ count: set('rate_bucket.count', '+', 1) }))
          .where('rate_bucket.count', '<', this.#limits.loginAttemptsMax),
      )
      .compile();
    const message = 'Too many logins were tried from this address.';
    return [this.expired(), { query, expect: { rows: 1, code: 'rate-limited', message } }];
  }

  async #secondsLeft(address: string): Promise<number> {
    const row = await this.#storage.db
      .selectFrom('rate_bucket')
      .select('window_start')
      .where('bucket', '=', bucketOf(address))
      .executeTakeFirst();
    if (row === undefined) return 1;
    const end = row.window_start + this.#limits.loginWindowSeconds * 1000;
    return Math.max(1, Math.ceil((end - this.#clock.now()) / 1000));
  }
}

function bucketOf(address: string): string {
  return loginBuckets + addressBlock(address);
}

function rateLimited(message: string, retryAfterSeconds: number): KeyreeveError {
  const seconds = retryAfterSeconds === 1 ? '1 second' : `${retryAfterSeconds} seconds`;
  return new KeyreeveError('rate-limited', message, {
    hint: `Try again in ${seconds}.`,
    retryAfterSeconds,
  });
}
