import type { EntryDraft } from '../../api/entry.ts';
import type { ErrorCode } from '../../api/error-codes.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import { retryAfterSeconds } from './backoff.ts';

export interface ScheduleLog {
  info(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** After so many failures in a row the record tells of it, once, and of the first success then. */
export const failuresTold = 3;
/** Faults of the database and of time stop all work at once: each job need not tell of them. */
const untold: readonly ErrorCode[] = [
  'clock-unsafe',
  'outcome-unknown',
  'overloaded',
  'storage-full',
  'storage-unavailable',
];

/** How it stands with work that repeats; times are milliseconds since 1970. */
export interface WorkState {
  /** The node that ran it last. */
  readonly nodeId: string | null;
  readonly startedAt: number | null;
  /** Null while it runs. */
  readonly endedAt: number | null;
  readonly succeededAt: number | null;
  readonly nextAt: number;
  /** In a row. */
  readonly failures: number;
  /** Why the last run failed. */
  readonly reason: string | null;
}

export interface WorkOptions {
  readonly name: string;
  readonly everySeconds: number;
  /** The name of this process, which may get another. */
  readonly nodeId: () => string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: ScheduleLog;
}

/** Runs one piece of work, and keeps what came of it: when it is due again, and why it failed. */
export class Work {
  readonly #options: WorkOptions;
  #state: WorkState;
  #logged: string | null = null;
  #isTold = false;
  #news: readonly EntryDraft[] = [];

  constructor(options: WorkOptions) {
    this.#options = options;
    this.#state = {
      ...{ nodeId: null, startedAt: null, endedAt: null, succeededAt: null },
      nextAt: options.clock.now() + options.everySeconds * 1000,
      failures: 0,
      reason: null,
    };
  }

  get state(): WorkState {
    return this.#state;
  }

  /** Goes on from what another node left. */
  takeOver(state: WorkState): void {
    this.#state = state;
    this.#isTold = state.failures >= failuresTold;
  }

  /** What the record has to be told; kept until it was. */
  get news(): readonly EntryDraft[] {
    return this.#news;
  }

  wereWritten(entries: readonly EntryDraft[]): void {
    this.#news = this.#news.filter((entry) => !entries.includes(entry));
  }

  /** Runs it; never rejects. Returns the milliseconds until the next run. */
  async run(work: () => Promise<unknown>): Promise<number> {
    const { nodeId, clock } = this.#options;
    this.#state = { ...this.#state, nodeId: nodeId(), startedAt: clock.now(), endedAt: null };
    try {
      await work();
    } catch (error) {
      return this.failed(error);
    }
    return this.#succeeded();
  }

  /** Counts a failure; returns the milliseconds until the next attempt. */
  failed(error: unknown): number {
    const { name, everySeconds, clock, random, log } = this.#options;
    const reason = reasonOf(error);
    const failures = this.#state.failures + 1;
    // Whole milliseconds: it goes into a row.
    const wait = Math.round(retryAfterSeconds(failures, everySeconds, random()) * 1000);
    const now = clock.now();
    this.#state = { ...this.#state, endedAt: now, nextAt: now + wait, failures, reason };
    // Seconds and counts differ from run to run; the reason is the same.
    const sameReason = reason.replace(/\d+/g, '#');
    if (this.#logged !== sameReason) {
      this.#logged = sameReason;
      const facts = { job: name, reason, failures };
      log.error(isKeyreeveError(error) ? facts : { ...facts, err: error }, `${name} failed`);
    }
    const code = codeOf(error);
    if (failures >= failuresTold && !this.#isTold && !untold.includes(code)) {
      this.#isTold = true;
      this.#tell('job.failing', code, { failures, reason });
    }
    return wait;
  }

  #succeeded(): number {
    const { name, everySeconds, clock, log } = this.#options;
    const now = clock.now();
    const wait = everySeconds * 1000;
    const done = { endedAt: now, succeededAt: now, nextAt: now + wait };
    this.#state = { ...this.#state, ...done, failures: 0, reason: null };
    if (this.#logged !== null) log.info({ job: name }, `${name} works again`);
    this.#logged = null;
    if (this.#isTold) this.#tell('job.recovered', 'ok', {});
    this.#isTold = false;
    return wait;
  }

  #tell(
    action: 'job.failing' | 'job.recovered',
    outcome: string,
    facts: { readonly failures?: number; readonly reason?: string },
  ): void {
    const { name, clock } = this.#options;
    const detail = canonicalJson({ ...facts });
    this.#news = [...this.#news, serviceEntry(clock, action, outcome, { resource: name, detail })];
  }
}

/** For people, and without secrets: what is not an error of ours is told to the log alone. */
function reasonOf(error: unknown): string {
  if (isKeyreeveError(error)) return error.message;
  if (isOfSeveral(error)) return reasonOf(error.errors[0]);
  return 'An unexpected error; the log of the node has it.';
}

function codeOf(error: unknown): ErrorCode {
  if (isOfSeveral(error)) return codeOf(error.errors[0]);
  return isKeyreeveError(error) ? error.code : 'internal';
}

function isOfSeveral(error: unknown): error is AggregateError {
  return error instanceof AggregateError && error.errors.length > 0;
}
