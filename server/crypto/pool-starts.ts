type Settle<Result> = (resolve: (result: Result) => void, reject: (error: unknown) => void) => void;

// One list for the process, as there is one thread pool.
let waiting: (() => void)[] = [];

/**
 * Hands a job to the thread pool at the end of the present turn, together with those of other
 * callers. Threads that find the next job waiting do not go to sleep: waking one for each signature costs
 * as much as a third of a P-256 signature.
 */
export function startInPool<Result>(job: Settle<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const start = () => {
      try {
        job(resolve, reject);
      } catch (error) {
        reject(error);
      }
    };
    if (waiting.push(start) === 1) setImmediate(startAll);
  });
}

function startAll(): void {
  const starts = waiting;
  waiting = [];
  for (const start of starts) start();
}
