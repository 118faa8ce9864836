import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import {
  acquireLease,
  fenceStep,
  type Lease,
  releaseLease,
  renewLease,
  type Step,
  type Storage,
} from '../storage/storage.ts';
import { type Log, loadLog, readVerifiers, type Sealer, signCheckpoint } from './log-key.ts';
import { openCheckpoint } from './note.ts';
import { type Placement, place, type TreeEdge, type Unplaced } from './placement.ts';
import {
  deleteTailSteps,
  hasTail,
  makeTreeStep,
  moveTreeStep,
  placementSteps,
  readEdge,
  readTail,
  readTree,
  type TailRow,
  type TreeRow,
} from './record-store.ts';
import { tileWidth } from './tiles.ts';

/**
 * Pause between two runs; together with a run it must stay below a second. Each run writes the last
 * bundle and the last tile anew, so that short pauses write a few entries many times.
 */
const pauseMilliseconds = 500;
/** Pause after a run that failed. */
const faultPauseMilliseconds = 1000;
const leaseName = 'sequencer';
/**
 * How long entries may wait for their places after a node was killed. Ends are compared by the
 * clocks of different hosts: one that is ahead takes the lease too early, which costs the other a
 * refused write and nothing else, since every write carries the fence.
 */
const leaseTtlSeconds = 5;
const leaseRenewalSeconds = 2;

export interface SequencerOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly sealer: Sealer;
  /** See `AuditOptions.holder`. */
  readonly holder: string;
  /** Told after each run of the loop: undefined when it went well. */
  readonly onRun?: (error: unknown) => void;
}

/** Ends the lease of whoever held it when a backup was made: that process is not at this database. */
export function endLeaseStep(db: Storage['db']): Step {
  const query = db
    .updateTable('lease')
    .set((row) => ({ fence: row('fence', '+', 1), expires_at: 0 }))
    .where('name', '=', leaseName);
  return { query: query.compile() };
}

/** How many entries a run placed, and whether more may be waiting. */
interface Run {
  readonly count: number;
  readonly more: boolean;
}

/** What this process knows of the tree; dropped whenever the database might know better. */
interface Position {
  /** Undefined before the first entry. */
  readonly tree: TreeRow | undefined;
  readonly edge: TreeEdge;
  readonly log: Log;
}

/**
 * Gives entries their places. One process at a time does, under a lease; compare and set on the size
 * of the tree keeps the tree whole even if two believe that they hold it.
 */
export class Sequencer {
  readonly #options: SequencerOptions;
  #position: Position | undefined;
  #lease: Lease | undefined;
  #timer: NodeJS.Timeout | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #stopped = true;

  constructor(options: SequencerOptions) {
    this.#options = options;
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#plan(0);
  }

  /** Waits for the run under way and lets go of the lease. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#queue;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined)
      await releaseLease(this.#options.storage, lease).catch(() => undefined);
  }

  /**
   * Places all entries that are waiting now; answers how many. Throws what storage throws, and
   * `record-corrupt` if the tree as stored is not the one that was signed.
   */
  sequenceNow(): Promise<number> {
    return this.#exclusive(async () => {
      let total = 0;
      for (;;) {
        const { count, more } = await this.#runOnce();
        total += count;
        if (!more) return total;
      }
    });
  }

  /**
   * Gives one entry of a new log its place: the log begins, or continues the one that was. The
   * statements given are part of the same write.
   */
  placeFirst(
    log: Log,
    from: TreeRow | undefined,
    edge: TreeEdge,
    entry: Unplaced,
    steps: readonly Step[],
  ): Promise<void> {
    return this.#exclusive(async () => {
      const position = { tree: from, edge, log };
      await this.#commit(position, [entry], steps);
    });
  }

  #exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #plan(milliseconds: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#loop(), milliseconds);
    this.#timer.unref();
  }

  async #loop(): Promise<void> {
    try {
      const { more } = await this.#exclusive(() => this.#runOnce());
      this.#options.onRun?.(undefined);
      this.#plan(more ? 0 : pauseMilliseconds);
    } catch (error) {
      this.#options.onRun?.(error);
      this.#plan(faultPauseMilliseconds);
    }
  }

  async #runOnce(): Promise<Run> {
    const { storage } = this.#options;
    const limit = batchLimit(this.#position?.tree?.size ?? 0);
    // Those who wait for the lease of another do not read what that one reads.
    const isWaiting = this.#lease === undefined;
    if (isWaiting && !(await hasTail(storage.db))) return nothingPlaced;
    if (isWaiting && !(await this.#holdLease())) return nothingPlaced;
    const rows = await readTail(storage.db, limit);
    if (rows.length === 0 || !(await this.#holdLease())) return nothingPlaced;
    try {
      const position = this.#position ?? (await this.#load());
      await this.#commit(position, rows, deleteTailSteps(storage.db, rows.map(rowId)));
      return { count: rows.length, more: rows.length === limit };
    } catch (error) {
      this.#position = undefined;
      // Another process was quicker: the next run begins where it ended.
      if (isKeyreeveError(error, 'conflict')) {
        this.#lease = undefined;
        return nothingPlaced;
      }
      throw error;
    }
  }

  async #commit(
    from: Position,
    entries: readonly Unplaced[],
    steps: readonly Step[],
  ): Promise<void> {
    const { storage, clock } = this.#options;
    const now = clock.now();
    const placement: Placement = place(from.edge, entries, now);
    const { frontier } = placement.edge;
    const { log } = from;
    const checkpoint = signCheckpoint(log, frontier.size, frontier.root());
    const tree = { size: frontier.size, origin: log.origin, checkpoint };
    const fence = this.#lease === undefined ? [] : [fenceStep(storage, this.#lease)];
    await storage.commit({
      steps: [
        ...fence,
        from.tree === undefined
          ? makeTreeStep(storage.db, tree, now)
          : moveTreeStep(storage.db, from.tree, tree, now),
        ...steps,
        ...placementSteps(storage.db, placement),
      ],
      entries: [],
    });
    this.#position = { tree, edge: placement.edge, log };
  }

  async #holdLease(): Promise<boolean> {
    const { storage, clock, holder } = this.#options;
    const left = (this.#lease?.expiresAt ?? 0) - clock.now();
    if (this.#lease !== undefined && left > leaseRenewalSeconds * 1000) return true;
    if (this.#lease !== undefined && left > 0) {
      this.#lease = await renewLease(storage, this.#lease, leaseTtlSeconds, clock);
    } else {
      this.#position = undefined;
      this.#lease = await acquireLease(storage, leaseName, holder, leaseTtlSeconds, clock);
    }
    return this.#lease !== undefined;
  }

  /** Reads the tree, and refuses to build on one that is not what was signed. */
  async #load(): Promise<Position> {
    const { storage, sealer } = this.#options;
    const tree = await readTree(storage.db);
    if (tree === undefined) throw notSigned('The record was not begun.');
    const log = await loadLog(storage.db, sealer, tree.origin);
    const edge = await readEdge(storage.db, tree.size);
    const signed = openCheckpoint(tree.checkpoint, await readVerifiers(storage.db));
    if (
      signed.origin !== tree.origin ||
      signed.size !== tree.size ||
      !signed.root.equals(edge.frontier.root())
    ) {
      throw notSigned('The tree of the record is not the one that was signed last.');
    }
    return { tree, edge, log };
  }
}

const nothingPlaced: Run = { count: 0, more: false };

/**
 * Entries placed in one write: some milliseconds of the event loop. The last of them fills a bundle,
 * so that where many wait each bundle is written once; less than half of one is too few for a write.
 */
function batchLimit(size: number): number {
  const room = tileWidth - (size % tileWidth);
  return room < tileWidth / 2 ? room + tileWidth : room;
}

function rowId(row: TailRow): number {
  return row.id;
}

function notSigned(message: string): KeyreeveError {
  return new KeyreeveError('record-corrupt', message, {
    hint: 'Run `keyreeve audit verify` to see what is damaged, then restore from a backup.',
  });
}
