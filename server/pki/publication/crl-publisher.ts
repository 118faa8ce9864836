import type { ErrorCode } from '../../../api/error-codes.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import type { Clock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { Mutexes } from '../../base/mutex.ts';
import { type About, serviceEntry } from '../../commands/commands.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import { type Authority, type AuthorityVersion, authorityVersion } from '../authority.ts';
import { crlGapSeconds, gapLeft } from '../crl-due.ts';
import { CrlSteps } from './crl-steps.ts';
import { type Crl, type CrlState, CrlStore, slotOf, type VersionOfCa } from './crl-store.ts';
import { isPending } from './crl-timing.ts';
import { type MadeCrl, makeCrl, requireSigning, type SignByVersion } from './make-crl.ts';
import { type PublishProblem, Retries } from './retries.ts';

/** CRLs made at the same time: a keystore that hangs holds up its own. */
const publishingMax = 8;
/** A publication that takes longer makes room for others; it is never begun a second time. */
const publishSecondsMax = 60;
const stopSecondsMax = 5;
/** A claim whose process died is due again after that; longer than any publication may take. */
const claimSeconds = 120;
/** How long a command waits for a CRL that another node is making. */
const otherNodeSecondsMax = 20;
const lookAgainMilliseconds = 200;

export interface PublisherLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface CrlPublisherOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: PublisherLog;
  /** CAs by id, as they are now. Error: `not-found`. */
  readonly authority: (id: string) => Promise<Authority>;
  readonly sign: SignByVersion;
  /** True where time cannot be trusted: nothing is published by the schedule then. */
  readonly isClockUnsafe: () => boolean;
  /** Told of each CRL once it is stored. */
  readonly onPublished?: (crl: Crl) => void;
}

/** A CRL on its way into the database: what to write, and whom to tell afterwards. */
export interface PreparedCrl {
  readonly crl: Crl;
  readonly steps: readonly Step[];
  readonly about: About;
  /** Takes the claim back where the write was refused. */
  abandon(): Promise<void>;
}

/**
 * Publishes CRLs: what is due by the schedule, and what was revoked, at most one each five seconds
 * for a version of a CA. The number of a CRL is one more than the stored one, by compare and set in
 * the commit that stores it. A CA that cannot sign now is asked again later and holds no other up.
 */
export class CrlPublisher {
  readonly store: CrlStore;
  readonly #options: CrlPublisherOptions;
  readonly #steps: CrlSteps;
  readonly #versions = new Mutexes();
  readonly #retries: Retries;
  /** Versions with a publication of the schedule under way, however long it takes. */
  readonly #busy = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  #isStopped = false;
  #looking: Promise<void> | undefined;
  #lookAgain = false;

  constructor(options: CrlPublisherOptions) {
    this.#options = options;
    this.store = new CrlStore(options.storage);
    this.#steps = new CrlSteps(options.storage);
    this.#retries = new Retries(options.clock, options.log);
    // Somebody may have brought back what could not sign.
    options.storage.onEpoch(() => this.#retries.stateMayHaveChanged());
  }

  /** What could not be published, and why. */
  problems(): readonly PublishProblem[] {
    return this.#retries.problems();
  }

  /**
   * Begins what is due and not under way; returns before it is done. For the schedule, and for
   * whoever has revoked something.
   */
  publishDue(): Promise<void> {
    this.#lookAgain = true;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    while (this.#lookAgain && !this.#isStopped) {
      this.#lookAgain = false;
      await this.#begin();
    }
  }

  async #begin(): Promise<void> {
    if (this.#options.isClockUnsafe()) return;
    const now = this.#options.clock.now();
    for (const version of await this.store.due(now)) {
      if (this.#running.size >= publishingMax || this.#isStopped) return;
      const slot = slotOf(version);
      if (this.#busy.has(slot) || !this.#retries.mayTry(slot)) continue;
      // The schedule comes back to it.
      if (gapLeft(version, now) > 0) continue;
      this.#busy.add(slot);
      const run: Promise<void> = this.#attempt(version, slot).finally(() => {
        this.#running.delete(run);
        // There may be more than ran at a time.
        void this.publishDue().catch(() => undefined);
      });
      this.#running.add(run);
    }
  }

  /** Ends after a while even where the publication does not. Never rejects. */
  async #attempt(version: VersionOfCa, slot: string): Promise<void> {
    const work = this.#publishScheduled(version)
      .then(() => this.#retries.succeeded(slot))
      .catch((error: unknown) => this.#retries.failed(slot, version, error))
      .finally(() => this.#busy.delete(slot));
    const isLate = await isLaterThan(publishSecondsMax, work);
    if (isLate) this.#retries.failed(slot, version, tooSlow);
  }

  async #publishScheduled({ caId, version }: VersionOfCa): Promise<void> {
    const { storage, clock } = this.#options;
    await this.exclusive({ caId, version }, async () => {
      const authority = await this.#options.authority(caId);
      const { own, state } = await this.look(authority, version);
      // A command may have published meanwhile.
      if (state.dueAt === null || state.dueAt > clock.now() || gapLeft(state, clock.now()) > 0) {
        return;
      }
      if (state.isClaimedElsewhere) return;
      const publication = await this.prepare(authority, own, state).catch((error: unknown) => {
        if (error instanceof KeyreeveError && causesOfNone.includes(error.code)) return error.code;
        throw error;
      });
      // Another node was quicker: it publishes.
      if (publication === 'conflict') return;
      if (typeof publication === 'string') {
        await storage.commit({ steps: [this.#steps.end({ caId, version })], entries: [] });
        return;
      }
      try {
        await storage.commit({
          steps: publication.steps,
          entries: [serviceEntry(clock, 'crl.publish', 'ok', publication.about)],
        });
      } catch (error) {
        await publication.abandon();
        throw error;
      }
      this.published(publication);
    });
  }

  /** A version as it stands. Error: `not-found`. */
  async look(
    authority: Authority,
    version: number,
  ): Promise<{ own: AuthorityVersion; state: CrlState }> {
    const own = authorityVersion(authority, version);
    const now = this.#options.clock.now();
    const state = await this.store.state({ caId: authority.key.id, version }, now);
    if (own !== undefined && state !== undefined) return { own, state };
    throw new KeyreeveError(
      'not-found',
      `${authority.key.name} has no certificate for version ${version}.`,
    );
  }

  /** Runs work on the CRLs of a version while nobody else does. */
  exclusive<Result>(version: VersionOfCa, work: () => Promise<Result>): Promise<Result> {
    return this.#versions.run(slotOf(version), work);
  }

  /**
   * Makes the next CRL of a version, inside `exclusive`; what it says to write counts once it is
   * committed. Until then the version is claimed, so that what is revoked meanwhile is noticed.
   */
  async prepare(
    authority: Authority,
    version: AuthorityVersion,
    state: CrlState,
  ): Promise<PreparedCrl> {
    const { storage, clock, sign } = this.#options;
    const { store } = this;
    requireSigning(authority, version, clock.now());
    const named = { caId: authority.key.id, version: version.version };
    const now = clock.now();
    const claimedUntil = now + claimSeconds * 1000;
    const abandon = async () => {
      // Due at once: what was revoked just before the claim is not known any more.
      const dueAgain = Math.min(state.dueAt ?? Infinity, clock.now());
      const steps = [this.#steps.unclaim(named, claimedUntil, dueAgain)];
      // Where this fails too, the claim itself makes the version due again, and counts until then.
      await storage.commit({ steps, entries: [] }).catch(() => undefined);
    };
    const claim = this.#steps.claim(named, { number: state.number, now, until: claimedUntil });
    try {
      await storage.commit({ steps: [claim], entries: [] });
      const made = await makeCrl({ store, sign, clock }, authority, version, state);
      return { ...this.#publicationOf(authority, made, claimedUntil), abandon };
    } catch (error) {
      await abandon();
      throw error;
    }
  }

  #publicationOf(
    authority: Authority,
    { crl, dueAt }: MadeCrl,
    claimedUntil: number,
  ): Omit<PreparedCrl, 'abandon'> {
    const publishedAt = this.#options.clock.now();
    const soon = publishedAt + crlGapSeconds * 1000;
    return {
      crl,
      steps: this.#steps.publish(crl, { publishedAt, dueAt, claimedUntil, soon }),
      about: {
        keyId: crl.caId,
        keyName: authority.key.name,
        keyVersion: String(crl.version),
        detail: canonicalJson({
          number: crl.number,
          entries: crl.entries,
          isLast: dueAt === null,
        }),
      },
    };
  }

  /** The CRL is in the database: tells who serves it. */
  published({ crl }: Pick<PreparedCrl, 'crl'>): void {
    this.#retries.succeeded(slotOf(crl));
    this.#options.onPublished?.(crl);
  }

  /**
   * The number of the newest CRL, where everything is in it that was revoked before this call, on
   * whichever node; undefined where another one has to come first.
   */
  async freshNumber(version: VersionOfCa): Promise<number | undefined> {
    if (this.#retries.isFailing(slotOf(version))) return undefined;
    const now = this.#options.clock.now();
    const state = await this.store.state(version, now);
    if (state === undefined || state.isClaimed) return undefined;
    return isPending(state, now) ? undefined : state.number;
  }

  /** Waits while another node makes the next CRL of a version; not for ever. */
  async whenFree(version: VersionOfCa): Promise<void> {
    const { clock } = this.#options;
    const end = clock.monotonic() + otherNodeSecondsMax * 1000;
    while (clock.monotonic() < end) {
      const state = await this.store.state(version, clock.now());
      if (state?.isClaimedElsewhere !== true) return;
      await new Promise((resolve) => setTimeout(resolve, lookAgainMilliseconds));
    }
  }

  /** Whether the last attempt failed. */
  isFailing(version: VersionOfCa): boolean {
    return this.#retries.isFailing(slotOf(version));
  }

  /** Waits until nothing begun is under way: for tests and for the stop. */
  async idle(): Promise<void> {
    while (this.#running.size > 0 || this.#looking !== undefined) {
      await Promise.allSettled([...this.#running, this.#looking]);
    }
  }

  /**
   * Begins nothing more and waits a while for what is under way: what is cut short is made at the
   * next start.
   */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await isLaterThan(stopSecondsMax, this.idle());
  }
}

/** Waits for work, and no longer than that; work that comes to its end later is not cut short. */
async function isLaterThan(seconds: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(true), seconds * 1000).unref();
  });
  try {
    return await Promise.race([work.then(() => false), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Why there is nothing to publish here: the key is gone, or another node publishes. */
const causesOfNone: readonly ErrorCode[] = ['key-destroyed', 'conflict'];

const tooSlow = new KeyreeveError(
  'keystore-unavailable',
  `Signing a CRL takes longer than ${publishSecondsMax} seconds.`,
);
