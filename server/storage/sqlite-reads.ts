import { Worker } from 'node:worker_threads';
import { KeyreeveError } from '../base/errors.ts';
import { type PlainError, toKeyreeveError } from './group.ts';
import { unpackRows } from './packed-rows.ts';
import type { ReadExecutor } from './read-dialect.ts';
import type { FromReader, ReaderSettings, ToReader } from './sqlite-reader.ts';

/** Reads that may wait for the thread; one more is refused (`overloaded`). */
export const waitingReadsLimit = 10_000;

interface WaitingRead {
  readonly resolve: (rows: unknown[]) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** The main thread's side of a reader thread; the thread is started by the first read. */
export class SqliteReads implements ReadExecutor {
  readonly #settings: ReaderSettings;
  readonly #timeoutMilliseconds: number;
  readonly #lost: (error: PlainError) => void;
  readonly #waiting = new Map<number, WaitingRead>();
  #worker: Worker | undefined;
  #newestId = 0;
  #closed = false;

  /** `lost` is told when the database cannot be reached, so that the service is not called ready. */
  constructor(
    settings: ReaderSettings,
    timeoutMilliseconds: number,
    lost: (error: PlainError) => void = () => undefined,
  ) {
    this.#settings = settings;
    this.#timeoutMilliseconds = timeoutMilliseconds;
    this.#lost = lost;
  }

  read(sql: string, parameters: readonly unknown[]): Promise<unknown[]> {
    return this.#ask((id) => ({ kind: 'read', id, sql, parameters }));
  }

  async *pages(
    sql: string,
    parameters: readonly unknown[],
    pageRows: number,
  ): AsyncIterableIterator<unknown[]> {
    if (!this.#settings.snapshot) {
      throw new KeyreeveError('internal', 'rows are streamed from a snapshot only');
    }
    const stream = ++this.#newestId;
    const open = { sql, parameters };
    let page = await this.#ask((id) => ({ kind: 'page', id, stream, rows: pageRows, open }));
    try {
      while (page.length > 0) {
        yield page;
        if (page.length < pageRows) return;
        page = await this.#ask((id) => ({ kind: 'page', id, stream, rows: pageRows }));
      }
    } finally {
      this.#worker?.postMessage({ kind: 'end', stream } satisfies ToReader);
    }
  }

  /** Ends the thread; one that hangs on the disk is left to the end of the process. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    worker.postMessage({ kind: 'close' } satisfies ToReader);
    const late = new Promise<void>((resolve) =>
      setTimeout(resolve, this.#timeoutMilliseconds).unref(),
    );
    await Promise.race([ended, late]);
    worker.unref();
  }

  #ask(message: (id: number) => ToReader): Promise<unknown[]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new KeyreeveError('shutting-down', 'the service is stopping'));
        return;
      }
      if (this.#waiting.size >= waitingReadsLimit) {
        reject(
          new KeyreeveError('overloaded', 'too many reads are waiting', { retryAfterSeconds: 1 }),
        );
        return;
      }
      const id = ++this.#newestId;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        this.#lost(noAnswer);
        reject(toKeyreeveError(noAnswer));
      }, this.#timeoutMilliseconds);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#thread().postMessage(message(id));
    });
  }

  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./sqlite-reader.ts', import.meta.url), {
      workerData: this.#settings,
      name: this.#settings.snapshot ? 'storage-snapshot' : 'storage-reader',
    });
    worker.on('message', ({ id, rows, error }: FromReader) => {
      const read = this.#waiting.get(id);
      if (read === undefined) return;
      this.#waiting.delete(id);
      clearTimeout(read.timer);
      if (error?.code === 'storage-unavailable') this.#lost(error);
      if (error === undefined) read.resolve(rows === undefined ? [] : unpackRows(rows));
      else read.reject(toKeyreeveError(error));
    });
    worker.on('error', () => this.#ended(worker));
    worker.on('exit', () => this.#ended(worker));
    this.#worker = worker;
    return worker;
  }

  #ended(worker: Worker): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    // Another thread would show another state: a snapshot ends with its thread.
    if (this.#settings.snapshot) this.#closed = true;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(toKeyreeveError(noAnswer));
    }
    this.#waiting.clear();
  }
}

const noAnswer: PlainError = {
  code: 'storage-unavailable',
  message: 'the database does not answer',
  hint: 'try again later; the service goes on by itself when the disk answers',
};
