import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { digest } from './tree.ts';

const publishPauseSeconds = 60;
/** All checkpoints of the last day are kept, and of the days before the last of each. */
const keepAllSeconds = 24 * 60 * 60;
const sizeDigits = 16;
const noteName = /^[0-9]{16}\.note$/;

export interface PublishOptions {
  /** Outside the data: another disk, or a folder that is copied elsewhere. */
  readonly folder: string;
  readonly clock: Clock;
  /** The newest checkpoint, its origin and size, and the key line of its log. */
  readonly current: () => Promise<CheckpointToPublish>;
  /** Told after each attempt: undefined when it went well. */
  readonly onRun: (error: unknown) => void;
}

export interface CheckpointToPublish {
  readonly origin: string;
  readonly size: number;
  readonly note: string;
  readonly verifierLine: string;
}

export interface PublishedNote {
  readonly path: string;
  readonly note: string;
}

/** Where the checkpoints of this log are: the origin itself would not do as a folder's name. */
export function publishedFolder(folder: string, origin: string): string {
  return join(folder, 'checkpoints', digest(Buffer.from(origin, 'utf8')).toString('hex', 0, 8));
}

/** All published checkpoints of a log, the smallest first; none if the folder is not there. */
export async function readPublished(folder: string, origin: string): Promise<PublishedNote[]> {
  const place = publishedFolder(folder, origin);
  const names = (await list(place)).filter((name) => noteName.test(name)).sort();
  const notes: PublishedNote[] = [];
  for (const name of names) {
    const path = join(place, name);
    notes.push({ path, note: await readFile(path, 'utf8') });
  }
  return notes;
}

/** The newest published checkpoint of a log. */
export async function readLatest(
  folder: string,
  origin: string,
): Promise<PublishedNote | undefined> {
  const place = publishedFolder(folder, origin);
  const name = (await list(place))
    .filter((found) => noteName.test(found))
    .sort()
    .at(-1);
  if (name === undefined) return undefined;
  const path = join(place, name);
  return { path, note: await readFile(path, 'utf8') };
}

/** Writes one checkpoint with `latest` and `log-key.pub` beside it, each on disk before its name is. */
export async function publishCheckpoint(
  folder: string,
  checkpoint: CheckpointToPublish,
): Promise<void> {
  const place = publishedFolder(folder, checkpoint.origin);
  await mkdir(place, { recursive: true, mode: 0o700 });
  const name = `${String(checkpoint.size).padStart(sizeDigits, '0')}.note`;
  await writeDurably(place, 'log-key.pub', `${checkpoint.verifierLine}\n`);
  await writeDurably(place, name, checkpoint.note);
  await writeDurably(place, 'latest', checkpoint.note);
  const handle = await open(place, 'r');
  await handle.sync().finally(() => handle.close());
}

/** Removes checkpoints older than a day, but the last of each day (UTC). */
export async function thinPublished(folder: string, origin: string, now: number): Promise<void> {
  const place = publishedFolder(folder, origin);
  const names = (await list(place)).filter((name) => noteName.test(name)).sort();
  let dayAfter: number | undefined;
  for (const name of names.reverse()) {
    const path = join(place, name);
    const time = (await stat(path).catch(() => undefined))?.mtimeMs;
    // Another node that shares the folder was quicker.
    if (time === undefined) continue;
    const day = Math.floor(time / 86_400_000);
    if (now - time > keepAllSeconds * 1000 && day === dayAfter) await rm(path, { force: true });
    dayAfter = day;
  }
}

/** Publishes every minute in which the tree grew, at the start, and at the end. */
export class Publisher {
  readonly #options: PublishOptions;
  #published: { origin: string; size: number } | undefined;
  #publishedAt: number | undefined;
  #thinnedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #queue: Promise<void> = Promise.resolve();

  constructor(options: PublishOptions) {
    this.#options = options;
  }

  /** When the folder was last up to date, milliseconds since 1970. */
  get publishedAt(): number | undefined {
    return this.#publishedAt;
  }

  start(): void {
    void this.publish();
    this.#timer = setInterval(() => void this.publish(), publishPauseSeconds * 1000);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.publish();
  }

  /** Never rejects: a folder that fails must not stop the use of keys. */
  publish(): Promise<void> {
    this.#queue = this.#queue.then(async () => {
      try {
        await this.#publishOnce();
        this.#publishedAt = this.#options.clock.now();
        this.#options.onRun(undefined);
      } catch (error) {
        this.#options.onRun(error);
      }
    });
    return this.#queue;
  }

  async #publishOnce(): Promise<void> {
    const { folder, clock, current } = this.#options;
    const checkpoint = await current();
    const { origin, size } = checkpoint;
    if (this.#published?.origin === origin && this.#published.size === size) return;
    await publishCheckpoint(folder, checkpoint);
    this.#published = { origin, size };
    if (clock.monotonic() - this.#thinnedAt < 3_600_000) return;
    this.#thinnedAt = clock.monotonic();
    await thinPublished(folder, origin, clock.now());
  }
}

async function list(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** A file has its name only once it is whole and on disk. */
export async function writeDurably(
  folder: string,
  name: string,
  content: string | Uint8Array,
): Promise<void> {
  // Nodes may share a folder, and processes of two hosts their number.
  const temporary = join(folder, `.${name}.${process.pid}-${randomUUID()}.tmp`);
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, join(folder, name));
}
