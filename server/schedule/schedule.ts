import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { MetricSample } from '../base/metric.ts';
import type { Lease, Storage } from '../storage/storage.ts';
import { jobSamples } from './job-metrics.ts';
import type { JobState, ShownState } from './job-state.ts';
import { JobStore } from './job-store.ts';
import { jobLeaseSeconds, LeasedJob } from './leased-job.ts';
import { Loop } from './loop.ts';
import { systemTimer, type Timer } from './timer.ts';
import { type ScheduleLog, Work, type WorkState } from './work.ts';

export type { JobState } from './job-state.ts';
export type { Timer } from './timer.ts';
export type { ScheduleLog } from './work.ts';

/** Leases are renewed and rows written that often: several times before a lease ends. */
const keepSeconds = jobLeaseSeconds / 3;
/** The first look at what is due, so that a restart does not put off what waits. */
const firstLookSeconds = 1;

export interface ScheduleOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: ScheduleLog;
  readonly timer?: Timer;
  /** In [0, 1): `Math.random` will do, since nothing is secret about a wait. */
  readonly random?: () => number;
}

const unknownState = {
  ...{ nodeId: null, startedAt: null, endedAt: null, succeededAt: null, nextAt: null },
  failures: 0,
  reason: null,
};

/**
 * All that the service does by itself, again and again: never the same thing twice at a time, later
 * and later where it fails, and logged once for each reason.
 */
export class Schedule {
  readonly #options: Required<ScheduleOptions>;
  readonly #store: JobStore;
  readonly #loops: Loop[] = [];
  readonly #local = new Map<string, { everySeconds: number; work: Work }>();
  readonly #leased = new Map<string, LeasedJob>();
  readonly #shown = new Map<string, { everySeconds: number; look: () => ShownState }>();

  constructor(options: ScheduleOptions) {
    this.#options = { timer: systemTimer, random: Math.random, ...options };
    this.#store = new JobStore(options.storage);
    const keepMilliseconds = keepSeconds * 1000;
    // Together, so that the writes of all jobs share one group and one flush.
    this.#loop(keepMilliseconds, async () => {
      await Promise.all([...this.#leased.values()].map((job) => job.keep()));
      return keepMilliseconds;
    });
  }

  /** Work that each node does for itself, first after one interval. */
  everywhere(name: string, everySeconds: number, work: () => Promise<unknown>): void {
    const piece = this.#work(name, everySeconds);
    this.#local.set(name, { everySeconds, work: piece });
    this.#loop(everySeconds * 1000, async () => {
      const wait = await piece.run(work);
      await this.#writeNews(piece);
      return wait;
    });
  }

  /** Work that some other part repeats on this node, so that `status` shows it with the rest. */
  show(name: string, everySeconds: number, look: () => ShownState): void {
    this.#shown.set(name, { everySeconds, look });
  }

  /**
   * Work that one node of all does at a time, under the lease `job:<name>`. The lease is renewed
   * while the work runs; a node that sleeps and wakes may have lost it all the same, so work that
   * writes puts `fenceStep(storage, lease)` into its commits. On SQLite, where one process is alone,
   * the lease is taken once and costs nothing further.
   */
  once(name: string, everySeconds: number, work: (lease: Lease) => Promise<unknown>): void {
    const { storage, clock } = this.#options;
    const job = new LeasedJob({
      ...{ name, everySeconds, storage, clock },
      store: this.#store,
      run: work,
      work: this.#work(name, everySeconds),
    });
    this.#leased.set(name, job);
    this.#loop(Math.min(everySeconds, firstLookSeconds) * 1000, () => job.turn());
  }

  /** How all jobs of this node stand, in the order of their names. */
  async jobs(): Promise<readonly JobState[]> {
    const rows = new Map((await this.#store.all()).map((row) => [row.name, row]));
    const local = [...this.#local].map(([name, { everySeconds, work }]): JobState => {
      return { name, scope: 'each-node', everySeconds, node: null, ...work.state };
    });
    const shown = [...this.#shown].map(([name, { everySeconds, look }]): JobState => {
      return { name, scope: 'each-node', everySeconds, node: null, ...unknownState, ...look() };
    });
    const leased = [...this.#leased.values()].map((job): JobState => {
      const { name, everySeconds } = job;
      const row = rows.get(name);
      // The row of a job that keeps its lease is up to a minute old: its holder knows better.
      const state: WorkState = job.isHeld || row === undefined ? job.state : row;
      const { nodeId, startedAt, endedAt, succeededAt, nextAt, failures, reason } = state;
      const node = (row?.nodeId === nodeId ? row?.nodeName : undefined) ?? nodeId;
      return {
        ...{ name, scope: 'one-node', everySeconds, node },
        ...{ nodeId, startedAt, endedAt, succeededAt, nextAt, failures, reason },
      };
    });
    return [...local, ...shown, ...leased].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** For `/metrics`. */
  async samples(): Promise<readonly MetricSample[]> {
    return jobSamples(await this.jobs(), this.#options.clock.now());
  }

  /** Waits until nothing that was begun is under way. */
  async idle(): Promise<void> {
    for (;;) {
      const running = this.#loops.map((loop) => loop.running).filter((run) => run !== undefined);
      if (running.length === 0) return;
      await Promise.all(running);
    }
  }

  /** No more runs; waits for those under way, then lets other nodes go on at once. */
  async stop(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    await Promise.all([...this.#leased.values()].map((job) => job.release()));
  }

  #work(name: string, everySeconds: number): Work {
    if (this.#local.has(name) || this.#leased.has(name)) {
      throw new KeyreeveError('internal', `There are two jobs named "${name}".`);
    }
    const { storage, clock, random, log } = this.#options;
    return new Work({ name, everySeconds, nodeId: () => storage.nodeId, clock, random, log });
  }

  async #writeNews(work: Work): Promise<void> {
    const { news } = work;
    if (news.length === 0) return;
    await this.#options.storage.commit({ steps: [], entries: news }).then(
      () => work.wereWritten(news),
      // Written after a later run.
      () => undefined,
    );
  }

  #loop(firstMilliseconds: number, turn: () => Promise<number>): void {
    this.#loops.push(new Loop(this.#options.timer, firstMilliseconds, turn));
  }
}
