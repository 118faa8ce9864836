import type { Clock } from '../base/clock.ts';
import { Mutexes } from '../base/mutex.ts';
import {
  acquireLease,
  type Lease,
  releaseLease,
  renewLease,
  type Storage,
} from '../storage/storage.ts';
import { retryCeilingSeconds } from './backoff.ts';
import type { JobStore } from './job-store.ts';
import type { Work, WorkState } from './work.ts';

/** A node that dies leaves its jobs to the others after that. */
export const jobLeaseSeconds = 30;
/** A node without the lease looks again after that. */
export const lookAgainSeconds = 5;
/** Work that is done this often keeps its lease from run to run; all other lets go after each. */
export const keptIntervalSeconds = 60;
/** The row of work that keeps its lease is written so often where nothing changes. */
export const rowSeconds = 60;
/** After a failure the others have so long to try before this node does. */
const yieldSeconds = 1;

/** Holder of the leases on SQLite, where one process is alone: the next one goes on at once. */
const onlyHolder = 'only';

export interface LeasedJobOptions {
  readonly name: string;
  readonly everySeconds: number;
  readonly storage: Storage;
  readonly store: JobStore;
  readonly clock: Clock;
  readonly run: (lease: Lease) => Promise<unknown>;
  readonly work: Work;
}

/**
 * Work that one node of all does at a time: under a lease, and after the row that says when it is
 * due. A failure lets go of the lease: another node may have what this one lacks.
 */
export class LeasedJob {
  readonly #options: LeasedJobOptions;
  readonly #isAlone: boolean;
  readonly #leaseName: string;
  // One change of the lease at a time: it is renewed beside the work.
  readonly #mutex = new Mutexes();
  #lease: Lease | undefined;
  #hasLooked = false;
  /** The state that another node left, and that this one has waited for. */
  #waitedFor: string | undefined;
  /** By the clock that does not go back. */
  #writtenAt: number | undefined;

  constructor(options: LeasedJobOptions) {
    this.#options = options;
    this.#isAlone = options.storage.dialect === 'sqlite';
    this.#leaseName = `job:${options.name}`;
  }

  get name(): string {
    return this.#options.name;
  }

  get everySeconds(): number {
    return this.#options.everySeconds;
  }

  /** What this node knows; the row knows better where another has run it since. */
  get state(): WorkState {
    return this.#options.work.state;
  }

  get isHeld(): boolean {
    return this.#lease !== undefined;
  }

  /** One turn of the schedule: runs what is due, if it falls to this node. Never rejects. */
  async turn(): Promise<number> {
    const { work, run } = this.#options;
    try {
      const wait = await this.#exclusive(() => this.#enter());
      if (wait !== undefined) return wait;
    } catch (error) {
      return work.failed(error);
    }
    const lease = this.#lease!;
    const failuresBefore = work.state.failures;
    const wait = await work.run(() => run(lease));
    const isChanged = work.state.failures !== failuresBefore || this.#writtenAt === undefined;
    // What cannot be written now is written by a later run; the lease ends by itself.
    await this.#exclusive(() => this.#leave(isChanged)).catch(() => undefined);
    return work.state.failures > 0 && !this.#isAlone ? wait + yieldSeconds * 1000 : wait;
  }

  /** Renews the lease, and writes the row where that is due. Never rejects. */
  async keep(): Promise<void> {
    await this.#exclusive(async () => {
      if (this.#lease === undefined) return;
      if (!this.#isAlone) await this.#renew();
      const { clock } = this.#options;
      const isStale = (this.#writtenAt ?? 0) + rowSeconds * 1000 <= clock.monotonic();
      if (this.#writtenAt !== undefined && isStale) await this.#write();
    }).catch(() => undefined);
  }

  /** Lets go of the lease, so that another node goes on at once. Never rejects. */
  async release(): Promise<void> {
    await this.#exclusive(() => this.#letGo()).catch(() => undefined);
  }

  #exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#mutex.run('lease', work);
  }

  /** Undefined with the lease in hand and the work due; otherwise the milliseconds to wait. */
  async #enter(): Promise<number | undefined> {
    const { storage, store, clock, name, work, everySeconds } = this.#options;
    // A node that slept may have lost it.
    if (this.#lease !== undefined && this.#lease.expiresAt <= clock.now() && !this.#isAlone) {
      await this.#renew();
    }
    if (this.#lease !== undefined) return undefined;
    const looked = await store.read(name);
    const isFirstLook = !this.#hasLooked;
    this.#hasLooked = true;
    if (looked === undefined && isFirstLook) return everySeconds * 1000;
    const wait = looked === undefined ? 0 : this.#timeLeft(looked);
    if (wait > 0) return wait;
    const holder = this.#isAlone ? onlyHolder : storage.nodeId;
    this.#lease = await acquireLease(storage, this.#leaseName, holder, jobLeaseSeconds, clock);
    if (this.#lease === undefined) return lookAgainSeconds * 1000;
    this.#writtenAt = undefined;
    // Another node may have done it between the look and the lease.
    const row = await store.read(name);
    if (row === undefined) return undefined;
    if (looked === undefined || markOf(row) !== markOf(looked)) {
      const left = this.#timeLeft(row);
      if (left > 0) {
        await this.#letGo();
        return left;
      }
    }
    work.takeOver(row);
    return undefined;
  }

  /**
   * How long what another node left has to be waited for. What was waited for by the timer is due,
   * whatever the clocks of the nodes say; and no clock makes it wait longer than it may.
   */
  #timeLeft(row: WorkState): number {
    const { clock, everySeconds } = this.#options;
    const own = this.state;
    const isOwn = row.nodeId === own.nodeId && row.startedAt === own.startedAt;
    if (isOwn || this.#waitedFor === markOf(row)) return 0;
    const longest = Math.max(everySeconds, retryCeilingSeconds(everySeconds)) * 1000;
    const left = Math.min(row.nextAt - clock.now(), longest);
    if (left > 0) this.#waitedFor = markOf(row);
    return Math.max(0, left);
  }

  async #leave(isChanged: boolean): Promise<void> {
    const { work, everySeconds } = this.#options;
    const isKept =
      this.#isAlone || (everySeconds <= keptIntervalSeconds && work.state.failures === 0);
    if (isChanged || everySeconds >= rowSeconds || work.news.length > 0) await this.#write();
    if (!isKept) await this.#letGo();
  }

  async #write(): Promise<void> {
    const { store, clock, name, work } = this.#options;
    if (this.#lease === undefined) return;
    const { news } = work;
    if (await store.write(this.#lease, name, work.state, news)) {
      this.#writtenAt = clock.monotonic();
      work.wereWritten(news);
    } else this.#lease = undefined;
  }

  async #renew(): Promise<void> {
    const { storage, clock } = this.#options;
    this.#lease = await renewLease(storage, this.#lease!, jobLeaseSeconds, clock);
  }

  async #letGo(): Promise<void> {
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined && !this.#isAlone) await releaseLease(this.#options.storage, lease);
  }
}

/** Tells one state of a row from the next. */
function markOf({ nodeId, startedAt, nextAt }: WorkState): string {
  return `${nodeId} ${startedAt} ${nextAt}`;
}
