/**
 * The writer thread: the one connection that changes the database of a data folder, and the lock
 * that is held for life. Groups come in as messages and are answered in order.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import {
  type GroupReply,
  loadEncoder,
  messageOf,
  type PlainError,
  type WireWrite,
} from './group.ts';
import type { PlannedMigration } from './migrate.ts';
import { databaseFault } from './sqlite-errors.ts';
import { readMark, SqliteFile } from './sqlite-file.ts';
import { dataFiles } from './sqlite-folder.ts';
import { GroupRunner } from './sqlite-group.ts';

export interface WriterSettings {
  readonly dataFolder: string;
  readonly plan: readonly PlannedMigration[];
  readonly migrate: boolean;
  readonly encoder: string;
  /** Time of the start, for the rows of `schema_version`. */
  readonly now: number;
}

export type ToWriter =
  | { readonly kind: 'group'; readonly writes: readonly WireWrite[]; readonly probe: boolean }
  | { readonly kind: 'close' };

export type FromWriter =
  | { readonly kind: 'ready'; readonly epoch: number }
  | { readonly kind: 'refused'; readonly error: PlainError }
  | { readonly kind: 'reply'; readonly reply: GroupReply };

/** After this time without a group the log is moved into the database, so that it stays small. */
const idleCheckpointMilliseconds = 2000;

async function serve(port: MessagePort, settings: WriterSettings): Promise<void> {
  const file = new SqliteFile({
    files: dataFiles(settings.dataFolder),
    plan: settings.plan,
    migrate: settings.migrate,
    now: () => settings.now,
  });
  const send = (message: FromWriter) => port.postMessage(message);
  let runner: GroupRunner;
  try {
    const encode = await loadEncoder(settings.encoder);
    const mark = readMark(file.start());
    file.remember(mark.epoch, mark.entries);
    runner = new GroupRunner(file, encode, mark.entries);
    send({ kind: 'ready', epoch: mark.epoch });
  } catch (error) {
    file.close();
    send({ kind: 'refused', error: startFault(error) });
    port.close();
    return;
  }
  let idle: NodeJS.Timeout | undefined;
  port.on('message', (message: ToWriter) => {
    if (message.kind === 'close') {
      clearTimeout(idle);
      file.close();
      port.close();
      return;
    }
    send({ kind: 'reply', reply: runner.run(message.writes, message.probe) });
    if (idle === undefined) {
      idle = setTimeout(() => {
        idle = undefined;
        file.checkpoint();
      }, idleCheckpointMilliseconds);
    } else {
      idle.refresh();
    }
  });
}

function startFault(error: unknown): PlainError {
  const fault = databaseFault(error);
  if (fault !== undefined) return fault;
  return {
    code: 'storage-unavailable',
    message: `the data folder cannot be opened: ${messageOf(error)}`,
    hint: 'look at its owner, its mode and its disk',
  };
}

if (parentPort !== null) await serve(parentPort, workerData as WriterSettings);
