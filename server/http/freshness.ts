import type { Caller, Settled } from '../base/caller.ts';

/** How old the knowledge may be by which a call is answered. */
export const staleAfterMilliseconds = 1000;

export interface FreshnessParts {
  /** Of storage: the newest epoch that this node knows, how long ago it was known to be the newest. */
  readonly storage: {
    readonly epoch: number;
    epochAge(): number;
    /** Error: `storage-unavailable`. */
    refreshEpoch(): Promise<number>;
  };
  /** Throws unless the rights of the caller are what they were. */
  readonly recheck: (caller: Caller) => Promise<void>;
}

/**
 * Keeps a node from answering by what it knew once: an answer leaves only if less than a second ago
 * its caller still had the rights under which it was made. A node that was frozen, whose commit took
 * long, or that is cut off from the database looks again first, and refuses where it cannot. Nothing
 * here costs anything as long as the epoch is known and stands still.
 */
export class Freshness {
  readonly #parts: FreshnessParts;

  constructor(parts: FreshnessParts) {
    this.#parts = parts;
  }

  /**
   * Before anything is done for a caller: what has to be waited for, undefined where nothing. Error:
   * `storage-unavailable`.
   */
  beforeAct(): Promise<unknown> | undefined {
    const { storage } = this.#parts;
    return storage.epochAge() > staleAfterMilliseconds ? storage.refreshEpoch() : undefined;
  }

  /**
   * Before the answer leaves: what has to be waited for. `settled` is the last commit of the call,
   * which looked at the rights itself. Errors: `storage-unavailable`, `unauthenticated`, `forbidden`.
   */
  beforeAnswer(caller: Caller, settled: Settled | undefined): Promise<void> | undefined {
    const { storage } = this.#parts;
    const isFresh = storage.epochAge() <= staleAfterMilliseconds;
    if (isFresh && storage.epoch === (settled ?? caller).epoch) return undefined;
    // Also where the commit changed the caller's own rights: it was allowed to.
    if (settled !== undefined && settled.age() <= staleAfterMilliseconds) return undefined;
    return this.#lookAgain(caller);
  }

  async #lookAgain(caller: Caller): Promise<void> {
    await this.beforeAct();
    await this.#parts.recheck(caller);
  }
}
