/** What the tests of storage share: options, small writes, and a child process that commits. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { EntryDraft } from '../../api/entry.ts';
import { systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import {
  openStorage,
  type Step,
  type Storage,
  type StorageLog,
  type StorageOptions,
} from './storage.ts';

export const quietLog: StorageLog = { info() {}, warn() {}, error() {} };
export const plainEncoder = new URL('../../test/plain-encoder.ts', import.meta.url);

/** Where one test's data are. */
export type Place = Pick<StorageOptions, 'dataFolder' | 'databaseUrl'>;

export function openAt(place: Place, more: Partial<StorageOptions> = {}): Promise<Storage> {
  return openStorage({
    ...place,
    clock: systemClock,
    log: quietLog,
    entryEncoder: plainEncoder,
    ...more,
  });
}

export function entry(detail?: string): EntryDraft {
  const draft = {
    id: newId('ent'),
    time: '2030-01-01T00:00:00.000Z',
    kind: 'use',
    action: 'key.sign',
    outcome: 'ok',
  } as const;
  return detail === undefined ? draft : { ...draft, detail };
}

/** Puts a new row into `meta`; a name that is taken is `already-exists`. */
export function addMeta({ db }: Storage, name: string, value = 'x'): Step {
  return {
    query: db.insertInto('meta').values({ name, value }).compile(),
    expect: { rows: 1, code: 'already-exists', message: `${name} is taken` },
  };
}

/** Sets a row of `meta` that must be there. */
export function setMeta({ db }: Storage, name: string, value: string): Step {
  return {
    query: db.updateTable('meta').set({ value }).where('name', '=', name).compile(),
    expect: { rows: 1, code: 'not-found', message: `${name} is not there` },
  };
}

export async function metaNames(storage: Storage): Promise<string[]> {
  const rows = await storage.db.selectFrom('meta').select('name').orderBy('name').execute();
  return rows.map(({ name }) => name);
}

/** The `detail` of every entry in the tail, in order. */
export async function tailDetails(storage: Storage): Promise<(string | undefined)[]> {
  const rows = await storage.db.selectFrom('entry_tail').select('opening').orderBy('id').execute();
  return rows.map(({ opening }) => JSON.parse(Buffer.from(opening).toString('utf8')).detail);
}

/** Waits until the condition holds, at most so long. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  milliseconds = 10_000,
): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('the condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A real second process on a place: `storage.child.ts` under the same Node. */
export interface StorageChild {
  readonly process: ChildProcess;
  /** The next line that starts with the word; undefined where the process ended before. */
  line(word: string): Promise<string | undefined>;
  /** All lines so far. */
  readonly lines: readonly string[];
  readonly ended: Promise<number | null>;
}

export function startChild(
  place: Place,
  work: 'hold' | 'commit' | 'commit-alone',
  wrapper: readonly string[] = [],
): StorageChild {
  const script = new URL('./storage.child.ts', import.meta.url).pathname;
  const [program, ...parameters] = [...wrapper, process.execPath, script, work];
  const child = spawn(program!, parameters, {
    env: { ...process.env, STORAGE_PLACE: JSON.stringify(place) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  let wake: () => void = () => {};
  let over = false;
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', (code) => {
      over = true;
      wake();
      resolve(code);
    });
  });
  createInterface({ input: child.stdout! }).on('line', (line) => {
    lines.push(line);
    wake();
  });
  async function line(word: string): Promise<string | undefined> {
    for (;;) {
      const found = lines.find((one) => one.startsWith(word));
      if (found !== undefined || over) return found;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return { process: child, line, lines, ended };
}
