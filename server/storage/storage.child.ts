/**
 * The second process of the storage tests: opens a place, says `ready PID` or `refused CODE HINT`, and
 * then holds it, or commits one row after another and says `acknowledged NAME` for each.
 */
import { writeSync } from 'node:fs';
import { isKeyreeveError } from '../base/errors.ts';
import { addMeta, entry, openAt, type Place } from './storage.fixture.ts';

/** Callers at once: `commit` makes groups, `commit-alone` waits for each answer. */
const callers = { hold: 0, commit: 8, 'commit-alone': 1 };
const place = JSON.parse(process.env.STORAGE_PLACE ?? '') as Place;

/** Straight to the descriptor, so that a line said before a kill is not left in a buffer. */
function say(line: string): void {
  for (;;) {
    try {
      writeSync(1, `${line}\n`);
      return;
    } catch (error) {
      // The pipe is full: its reader is slower than this process.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

try {
  const storage = await openAt(place);
  say(`ready ${process.pid}`);
  setInterval(() => {}, 1000);
  const length = callers[process.argv[2] as keyof typeof callers];
  await Promise.all(
    Array.from({ length }, async (_, caller) => {
      for (let count = 0; ; count++) {
        const name = `${caller}-${count}`;
        await storage.commit({ steps: [addMeta(storage, name)], entries: [entry(name)] });
        say(`acknowledged ${name}`);
      }
    }),
  );
} catch (error) {
  if (!isKeyreeveError(error)) throw error;
  say(`refused ${error.code} ${error.hint}`);
  process.exitCode = 1;
}
