import { Worker } from 'node:worker_threads';
import type { Clock } from '../base/clock.ts';
import type { Write } from './contract.ts';
import {
  type GroupEngine,
  type GroupReply,
  type PlainError,
  toKeyreeveError,
  type WireWrite,
} from './group.ts';
import type { FromWriter, ToWriter, WriterSettings } from './sqlite-writer.ts';

export interface SqliteEngineOptions {
  readonly settings: Omit<WriterSettings, 'now'>;
  readonly clock: Clock;
  /** Milliseconds that closing may take before the thread is left to the end of the process. */
  readonly closeMilliseconds: number;
  readonly lost: (error: PlainError) => void;
}

/** The main thread's side of the writer thread: passes groups on and waits for nothing. */
export class SqliteEngine implements GroupEngine {
  /** Two, so that the thread has the next group at hand while the answers of one are given out. */
  readonly mostInFlight = 2;
  readonly #options: SqliteEngineOptions;
  #worker: Worker | undefined;
  #starting = false;
  #replies: ((reply: GroupReply) => void)[] = [];
  #closing = false;

  constructor(options: SqliteEngineOptions) {
    this.#options = options;
  }

  /** Starts the writer thread; the epoch of the database. Refusals of the folder are thrown. */
  async start(): Promise<number> {
    const { settings, clock } = this.#options;
    return this.#startThread({ ...settings, now: clock.now() });
  }

  async run(writes: readonly Write[], probe: boolean): Promise<GroupReply> {
    if (this.#worker === undefined) {
      if (!probe || this.#starting) return { committed: false, error: threadEnded };
      const error = await this.#restart();
      if (error !== undefined) return { committed: false, error };
    }
    const now = this.#options.clock.now();
    const message: ToWriter = {
      kind: 'group',
      writes: writes.map((write) => toWire(write, now)),
      probe,
    };
    return new Promise((resolve) => {
      try {
        this.#worker?.postMessage(message);
        this.#replies.push(resolve);
      } catch (error) {
        // A parameter that cannot be sent: nobody's write of this group has left.
        resolve({ committed: false, error: { ...unsendable, detail: String(error) } });
      }
    });
  }

  interrupt(): PlainError {
    return noAnswer;
  }

  async close(): Promise<void> {
    this.#closing = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    worker.postMessage({ kind: 'close' } satisfies ToWriter);
    const late = new Promise<void>((resolve) =>
      setTimeout(resolve, this.#options.closeMilliseconds).unref(),
    );
    await Promise.race([ended, late]);
    // A disk that hangs must not keep the process: the kernel lets go of the lock with it.
    worker.unref();
  }

  async #restart(): Promise<PlainError | undefined> {
    this.#starting = true;
    const { settings, clock } = this.#options;
    try {
      await this.#startThread({ ...settings, migrate: false, now: clock.now() });
      return undefined;
    } catch {
      return threadEnded;
    } finally {
      this.#starting = false;
    }
  }

  #startThread(settings: WriterSettings): Promise<number> {
    const worker = new Worker(new URL('./sqlite-writer.ts', import.meta.url), {
      workerData: settings,
      name: 'storage-writer',
    });
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromWriter) => {
        if (message.kind === 'reply') {
          this.#replies.shift()?.(message.reply);
        } else if (message.kind === 'ready') {
          this.#worker = worker;
          resolve(message.epoch);
        } else {
          reject(toKeyreeveError(message.error));
        }
      });
      worker.on('error', (error) => this.#ended(worker, String(error)));
      worker.on('exit', (code) => {
        reject(toKeyreeveError({ ...threadEnded, detail: `exit code ${code}` }));
        this.#ended(worker, `exit code ${code}`);
      });
    });
  }

  #ended(worker: Worker, detail: string): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const replies = this.#replies;
    this.#replies = [];
    for (const resolve of replies) resolve({ committed: false, error: noAnswer });
    if (!this.#closing) this.#options.lost({ ...threadEnded, detail });
  }
}

const noAnswer: PlainError = {
  code: 'outcome-unknown',
  message: 'the disk did not answer in time: it may be done, or not',
  hint: 'repeat the request with the same idempotency key',
};

const threadEnded: PlainError = {
  code: 'storage-unavailable',
  message: 'the thread that writes the database has ended: nothing was changed',
  hint: 'the service starts it again by itself',
};

const unsendable: PlainError = {
  code: 'internal',
  message: 'a write holds a value that the database cannot take',
};

function toWire(write: Write, now: number): WireWrite {
  const outbox = write.outbox ?? [];
  const raisesEpoch = write.raisesEpoch ?? false;
  if (write.steps.length === 0 && outbox.length === 0 && !raisesEpoch) return write.entries;
  const steps = write.steps.map(({ query, expect }) => ({
    sql: query.sql,
    parameters: query.parameters.map(ownBytes),
    expect,
  }));
  return { steps, entries: write.entries, outbox, raisesEpoch, now };
}

/** A copy where the bytes are a part of a larger buffer, all of which would be sent along. */
function ownBytes(value: unknown): unknown {
  if (!(value instanceof Uint8Array)) return value;
  return value.byteLength === value.buffer.byteLength ? value : new Uint8Array(value);
}
