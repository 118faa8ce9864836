import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { LruMap } from '../base/lru-map.ts';

export interface VisitorLimitOptions {
  readonly requestsPerSecond: number;
  readonly burstRequests: number;
  readonly addressesMax: number;
  readonly clock: Clock;
}

/** Limits requests that need no token: a bucket for each address that fills up again with time. */
export class VisitorLimit {
  readonly #options: VisitorLimitOptions;
  readonly #buckets: LruMap<string, { left: number; filledAt: number }>;

  constructor(options: VisitorLimitOptions) {
    this.#options = options;
    this.#buckets = new LruMap(options.addressesMax);
  }

  /** Takes one request from the bucket of this address. Error: `rate-limited`. */
  take(address: string): void {
    const { requestsPerSecond, burstRequests, clock } = this.#options;
    const now = clock.monotonic();
    const network = networkOf(address);
    let bucket = this.#buckets.get(network);
    if (bucket === undefined) {
      bucket = { left: burstRequests, filledAt: now };
      this.#buckets.set(network, bucket);
    }
    const gained = ((now - bucket.filledAt) / 1000) * requestsPerSecond;
    bucket.left = Math.min(burstRequests, bucket.left + gained);
    bucket.filledAt = now;
    if (bucket.left < 1) {
      throw new KeyreeveError('rate-limited', 'Too many requests came from this address.', {
        hint: 'Wait a moment, or call with a token.',
        retryAfterSeconds: Math.ceil((1 - bucket.left) / requestsPerSecond),
      });
    }
    bucket.left -= 1;
  }
}

/** One customer has a whole /64 of IPv6 (RFC 6177), so single addresses would limit nobody. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail = ''] = (address.split('%')[0] ?? '').split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => '0');
  return [...front, ...zeros, ...back].slice(0, 4).join(':');
}
