import { KeyreeveError } from '../base/errors.ts';
import type { Committed, StorageHealth, StorageLog, Write } from './contract.ts';
import type { EpochKeeper } from './epoch-keeper.ts';
import {
  type GroupEngine,
  type GroupReply,
  messageOf,
  type PlainError,
  toKeyreeveError,
} from './group.ts';

/** Writes that may wait to be sent; one more is refused (`overloaded`). */
export const waitingWritesLimit = 10_000;
/** Writes of one transaction: bounds the time until its first caller is answered. */
export const groupWritesLimit = 500;
const probeIntervalMilliseconds = 1000;

interface Waiting {
  readonly write: Write;
  readonly resolve: (committed: Committed) => void;
  readonly reject: (error: unknown) => void;
}

interface Group {
  readonly members: readonly Waiting[];
  /** Before anything was sent, by the clock of the epoch. */
  readonly begunAt: number;
  /** True once its callers were told that the database did not answer. */
  overdue: boolean;
}

export interface CommitQueueOptions {
  readonly engine: GroupEngine;
  readonly epochs: EpochKeeper;
  /** Whether other processes serve the same database. */
  readonly shared: boolean;
  readonly commitTimeoutSeconds: number;
  readonly log: StorageLog;
}

/**
 * Gathers writes into groups: while one is under way, what comes in waits and makes the next. The
 * callers never wait longer than the time limit, whatever the disk does, and the queue goes on by
 * itself when the database answers again.
 */
export class CommitQueue {
  readonly #engine: GroupEngine;
  readonly #timeoutMilliseconds: number;
  readonly #log: StorageLog;
  readonly #epochs: EpochKeeper;
  readonly #shared: boolean;
  #waiting: Waiting[] = [];
  #underWay = new Set<Group>();
  #overdueGroups = 0;
  #scheduled = false;
  #trouble: PlainError | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  #closing = false;
  #onIdle: (() => void) | undefined;

  constructor(options: CommitQueueOptions) {
    this.#engine = options.engine;
    this.#epochs = options.epochs;
    this.#shared = options.shared;
    this.#timeoutMilliseconds = options.commitTimeoutSeconds * 1000;
    this.#log = options.log;
  }

  commit(write: Write): Promise<Committed> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal();
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      this.#waiting.push({ write, resolve, reject });
      this.#schedule();
    });
  }

  health(): StorageHealth {
    const reason = this.#closing ? 'the service is stopping' : this.#trouble?.message;
    return { ready: reason === undefined, reason, waiting: this.#waiting.length };
  }

  /** Whether the database is there, as far as this queue knows. */
  get reached(): boolean {
    return this.#trouble === undefined || !unreachable.includes(this.#trouble.code);
  }

  /** The engine lost its database between two groups: not ready until a probe succeeds. */
  lost(error: PlainError): void {
    this.#fail(error);
  }

  /** Refuses new writes and waits for those under way, at most for the time limit of a commit. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#probeTimer);
    // Whoever waited for an overdue group was answered.
    if (this.#waiting.length === 0 && this.#underWay.size === this.#overdueGroups) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #refusal(): KeyreeveError | undefined {
    if (this.#closing) return new KeyreeveError('shutting-down', 'the service is stopping');
    if (this.#overdueGroups > 0) return toKeyreeveError(notSent);
    if (this.#waiting.length < waitingWritesLimit) return undefined;
    return new KeyreeveError('overloaded', 'too many writes are waiting for the disk', {
      hint: 'try again in a moment',
      retryAfterSeconds: 1,
    });
  }

  /** Sends at the end of the present turn, so that callers of one turn share a group. */
  #schedule(): void {
    if (this.#scheduled || this.#underWay.size >= this.#engine.mostInFlight) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#waiting.length === 0 || this.#underWay.size >= this.#engine.mostInFlight) return;
    const members =
      this.#waiting.length <= groupWritesLimit
        ? this.#waiting
        : this.#waiting.slice(0, groupWritesLimit);
    this.#waiting = this.#waiting.slice(members.length);
    this.#run(members, false);
    if (this.#waiting.length > 0) this.#schedule();
  }

  #run(members: readonly Waiting[], probe: boolean): void {
    const group: Group = { members, begunAt: this.#epochs.now(), overdue: false };
    this.#underWay.add(group);
    const timer = setTimeout(() => this.#giveUp(group), this.#timeoutMilliseconds);
    const writes = members.map(({ write }) => write);
    const outcome = this.#engine.run(writes, probe).catch(brokenWrite);
    outcome.then((reply) => {
      clearTimeout(timer);
      this.#underWay.delete(group);
      if (group.overdue) this.#overdueGroups--;
      this.#settle(group, reply);
      this.#schedule();
      if (this.#waiting.length === 0 && this.#underWay.size === 0) this.#onIdle?.();
    });
  }

  /** The time limit of a group has passed: its callers and all who wait behind it are answered. */
  #giveUp(group: Group): void {
    const error = this.#engine.interrupt();
    group.overdue = true;
    this.#overdueGroups++;
    this.#fail(error);
    for (const { reject } of group.members) reject(toKeyreeveError(error));
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(toKeyreeveError(notSent));
    this.#onIdle?.();
  }

  #settle(group: Group, reply: GroupReply): void {
    if (!reply.committed) {
      this.#fail(reply.error);
      if (group.overdue) return;
      for (const { reject } of group.members) reject(toKeyreeveError(reply.error));
      return;
    }
    this.#recover();
    // Listeners hear of a new epoch before any answer of its group leaves.
    // One that wrote nothing was not held up by a standby that is away: a primary that was replaced
    // behind its back answers it, too.
    this.#epochs.confirm(reply.epoch, reply.isWritten ? group.begunAt : Number.NEGATIVE_INFINITY);
    if (group.overdue) return;
    const failures = new Map(reply.failures);
    const committed: Committed = {
      epoch: reply.epoch,
      age: () => (this.#shared ? this.#epochs.now() - group.begunAt : 0),
    };
    group.members.forEach(({ resolve, reject }, index) => {
      const failure = failures.size === 0 ? undefined : failures.get(index);
      if (failure === undefined) {
        resolve(committed);
        return;
      }
      if (failure.code === 'internal') {
        this.#log.error({ detail: failure.detail }, failure.message);
      }
      reject(toKeyreeveError(failure));
    });
  }

  #fail(error: PlainError): void {
    if (this.#trouble?.message !== error.message) {
      this.#log.error({ code: error.code, detail: error.detail }, error.message);
    }
    this.#trouble = error;
    if (this.#probeTimer !== undefined || this.#closing) return;
    this.#probeTimer = setTimeout(() => this.#probe(), probeIntervalMilliseconds).unref();
  }

  #recover(): void {
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    clearTimeout(this.#probeTimer);
    this.#probeTimer = undefined;
    this.#log.info({}, 'the database answers again');
  }

  /** Asks whether the database is back, so that it is noticed without a caller. */
  #probe(): void {
    this.#probeTimer = undefined;
    if (this.#closing || this.#trouble === undefined) return;
    if (this.#underWay.size === 0) {
      this.#run([], true);
    } else {
      this.#probeTimer = setTimeout(() => this.#probe(), probeIntervalMilliseconds).unref();
    }
  }
}

const unreachable: readonly string[] = ['storage-unavailable', 'outcome-unknown'];

const notSent: PlainError = {
  code: 'storage-unavailable',
  message: 'the database does not answer: nothing was changed',
  hint: 'try again later; the service goes on by itself when the disk answers',
};

/** Engines answer with faults and throw none: a write of the wrong shape is all that is left. */
function brokenWrite(error: unknown): GroupReply {
  const message = 'a write could not be sent to the database';
  return { committed: false, error: { code: 'internal', message, detail: messageOf(error) } };
}
