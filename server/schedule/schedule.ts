export interface ScheduleLog {
  error(facts: object, message: string): void;
}

/**
 * Small repeated work of one process: each job runs after its interval, never twice at a time, and
 * a failure is logged and tried again the next time.
 */
export class Schedule {
  readonly #log: ScheduleLog;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #running = new Set<Promise<void>>();
  #isStopped = false;

  constructor(log: ScheduleLog) {
    this.#log = log;
  }

  every(name: string, intervalSeconds: number, work: () => Promise<unknown>): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const run = work()
        .then(() => undefined)
        .catch((error: unknown) => this.#log.error({ err: error, job: name }, `${name} failed`))
        .finally(() => {
          this.#running.delete(run);
          if (!this.#isStopped) this.every(name, intervalSeconds, work);
        });
      this.#running.add(run);
    }, intervalSeconds * 1000);
    // A timer alone must not keep a process alive that wants to end.
    timer.unref();
    this.#timers.add(timer);
  }

  /** No more runs; waits for those under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    await Promise.all(this.#running);
  }
}
