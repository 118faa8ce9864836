import { KeyreeveError } from '../../base/errors.ts';
import type { CrlPublisher } from './crl-publisher.ts';
import type { Crl, VersionOfCa } from './crl-store.ts';
import type { PublicMaterial } from './public-material.ts';

/** Longest wait for a CRL: the gap between two, the next round, and the signature. */
export const freshWaitSeconds = 10;
/** Callers who wait at the same time: nobody has to log in for it. */
export const freshWaitersMax = 64;
const lookEveryMilliseconds = 200;

/** Waits, some seconds at most, for a CRL in which nothing is missing that was revoked before. */
export class FreshCrls {
  readonly #publisher: CrlPublisher;
  readonly #material: PublicMaterial;
  readonly #waitSeconds: number;
  #waiting = 0;

  constructor(publisher: CrlPublisher, material: PublicMaterial, waitSeconds = freshWaitSeconds) {
    this.#waitSeconds = waitSeconds;
    this.#publisher = publisher;
    this.#material = material;
  }

  /** Errors: `overloaded` where too many wait, `crl-unavailable` where it is not made in time. */
  async wait(version: VersionOfCa): Promise<Crl> {
    const atOnce = await this.#ifFresh(version);
    if (atOnce !== undefined) return atOnce;
    // It is tried again later than anybody waits: no place is held for that.
    if (this.#publisher.isFailing(version)) throw notInTime();
    if (this.#waiting >= freshWaitersMax) {
      throw new KeyreeveError('overloaded', 'Too many callers wait for a CRL.', {
        hint: 'Ask again, or take the newest one without fresh=true.',
        retryAfterSeconds: freshWaitSeconds,
      });
    }
    this.#waiting++;
    try {
      return await this.#until(version, performance.now() + this.#waitSeconds * 1000);
    } finally {
      this.#waiting--;
    }
  }

  async #until(version: VersionOfCa, end: number): Promise<Crl> {
    while (performance.now() < end && !this.#publisher.isFailing(version)) {
      await this.#publisher.publishDue();
      await new Promise((resolve) => setTimeout(resolve, lookEveryMilliseconds));
      const crl = await this.#ifFresh(version);
      if (crl !== undefined) return crl;
    }
    throw notInTime();
  }

  async #ifFresh(version: VersionOfCa): Promise<Crl | undefined> {
    const number = await this.#publisher.freshNumber(version);
    return number === undefined ? undefined : this.#material.crl(version, number);
  }
}

function notInTime(): KeyreeveError {
  return new KeyreeveError('crl-unavailable', 'The next CRL was not made in time.', {
    hint: 'Take the newest one without fresh=true; "keyreeve status" says what is in the way.',
    retryAfterSeconds: freshWaitSeconds,
  });
}
