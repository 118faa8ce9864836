import { hostname } from 'node:os';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import type { Storage } from '../storage/storage.ts';
import { tellOfNode } from './node-entries.ts';
import { foreignProcessIsDead, nodeName } from './node-name.ts';
import { type NodeRow, NodeStore } from './node-store.ts';

/** How often a node looks at the others; storage itself keeps `seen_at` of the node up to date. */
const roundMilliseconds = 2000;
/** A node that the database has not heard of for longer is gone, by the clock of the database. */
export const goneAfterSeconds = 15;

export interface NodesLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface NodesOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: NodesLog;
  /** Version of the product. */
  readonly version: string;
  /** For tests (15). */
  readonly goneAfterSeconds?: number;
}

/** A process that serves the database. Times are milliseconds since 1970. */
export interface NodeState {
  readonly id: string;
  /** Host and process. */
  readonly name: string;
  readonly version: string;
  readonly startedAt: number;
  readonly seenAt: number;
  /** True for the one that answers. */
  readonly isThis: boolean;
}

/** Settles what nodes that are gone have begun, those for which `isGone` answers true. */
export type OnNodeGone = () => Promise<unknown>;

/**
 * The processes that serve one database, and which of those that did are gone. A node is known by an
 * id; one that was taken for dead and wakes registers anew under another, so that an id that is
 * gone never comes back.
 */
export interface Nodes {
  /** Registers this node, and looks which ones are gone. Before it, none is. */
  start(): Promise<void>;
  /**
   * Whether the node of this id is gone: what it has begun is anybody's to settle. Decided by the
   * last look; false for what was not looked at yet.
   */
  isGone(nodeId: string): boolean;
  /** Told after each look that found a node gone, again and again until it does not reject. */
  onNodeGone(listener: OnNodeGone): void;
  /** Looks now, and tells: for tests. The clock of the database decides in any case. */
  look(): Promise<void>;
  status(): Promise<readonly NodeState[]>;
  /** Takes this node out of the registry. */
  stop(): Promise<void>;
}

export function createNodes(options: NodesOptions): Nodes {
  return options.storage.dialect === 'sqlite' ? new OneNode(options) : new ManyNodes(options);
}

/** One process serves a file: whoever else was there is gone. */
class OneNode implements Nodes {
  readonly #options: NodesOptions;
  readonly #store: NodeStore;
  readonly #name = nodeName(hostname(), process.pid);

  constructor(options: NodesOptions) {
    this.#options = options;
    this.#store = new NodeStore(options.storage);
  }

  async start(): Promise<void> {
    const { storage, clock, version } = this.#options;
    const others = (await this.#store.all()).map(({ id }) => id);
    const now = clock.now();
    await storage.commit({
      steps: [
        ...others.map((id) => this.#store.remove(id)),
        this.#store.insert({ name: this.#name, version, now }),
      ],
      entries: [],
    });
  }

  isGone(nodeId: string): boolean {
    return nodeId !== this.#options.storage.nodeId;
  }

  onNodeGone(): void {}

  async look(): Promise<void> {}

  async status(): Promise<readonly NodeState[]> {
    const { storage, clock } = this.#options;
    const rows = await this.#store.all();
    return rows.map(({ now: _, ...row }) => ({
      ...row,
      seenAt: clock.now(),
      isThis: row.id === storage.nodeId,
    }));
  }

  async stop(): Promise<void> {
    const { storage } = this.#options;
    await storage.commit({ steps: [this.#store.remove(storage.nodeId)], entries: [] });
  }
}

class ManyNodes implements Nodes {
  readonly #options: NodesOptions;
  readonly #store: NodeStore;
  readonly #name = nodeName(hostname(), process.pid);
  readonly #goneAfterMilliseconds: number;
  readonly #listeners: OnNodeGone[] = [];
  /** Those of the last look. */
  #living = new Set<string>();
  /** For as long as the process lives: ids are few, and none comes back. */
  readonly #gone = new Set<string>();
  #isTold = true;
  #round: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: NodesOptions) {
    this.#options = options;
    this.#store = new NodeStore(options.storage);
    this.#goneAfterMilliseconds = (options.goneAfterSeconds ?? goneAfterSeconds) * 1000;
  }

  async start(): Promise<void> {
    const { storage } = this.#options;
    await this.#register();
    // A former life of this host that was killed need not be waited for.
    const own = { host: hostname(), pid: process.pid, startedAt: performance.timeOrigin };
    const dead = (await this.#store.all()).filter(
      (row) => row.id !== storage.nodeId && foreignProcessIsDead(row, own),
    );
    if (dead.length > 0) {
      await this.#forget(dead.map(({ id }) => id));
      for (const row of dead) await tellOfNode(this.#options, 'node.gone', row);
    }
    await this.look();
    this.#plan();
  }

  isGone(nodeId: string): boolean {
    return this.#gone.has(nodeId);
  }

  onNodeGone(listener: OnNodeGone): void {
    this.#listeners.push(listener);
  }

  look(): Promise<void> {
    this.#round = this.#round.catch(() => undefined).then(() => this.#look());
    return this.#round;
  }

  async status(): Promise<readonly NodeState[]> {
    const { nodeId } = this.#options.storage;
    const rows = await this.#store.all();
    return rows.map(({ now: _, ...row }) => ({ ...row, isThis: row.id === nodeId }));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#round.catch(() => undefined);
    const { storage } = this.#options;
    await this.#forget([storage.nodeId]);
  }

  async #forget(ids: readonly string[]): Promise<void> {
    const steps = ids.flatMap((id) => [this.#store.remove(id), this.#store.endLeases(id)]);
    await this.#options.storage.commit({ steps, entries: [] });
  }

  #plan(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.look()
        // Without the database nobody is known to be gone: storage tells that it is away.
        .catch(() => undefined)
        .then(() => this.#plan());
    }, roundMilliseconds).unref();
  }

  async #register(): Promise<void> {
    const { storage, clock, version } = this.#options;
    const insert = this.#store.insert({ name: this.#name, version, now: clock.now() });
    await storage.commit({ steps: [insert], entries: [] });
    const node = { id: storage.nodeId, name: this.#name, version };
    await tellOfNode(this.#options, 'node.joined', node);
  }

  /** The record is told by the one node that took it out. */
  async #takeOut(row: NodeRow): Promise<void> {
    const { storage } = this.#options;
    const expect = { rows: 1, code: 'conflict', message: 'It was taken out meanwhile.' } as const;
    const step = { ...this.#store.removeUnseen(row), expect };
    try {
      await storage.commit({ steps: [step], entries: [] });
    } catch (error) {
      // Another node was first, or it was seen after all.
      if (isKeyreeveError(error, 'conflict')) return;
      throw error;
    }
    await tellOfNode(this.#options, 'node.gone', row);
  }

  async #look(): Promise<void> {
    const { storage, log } = this.#options;
    // 1. Whose acts are under way. A node is registered before it begins any: who is not in the
    //    registry that is read after this is gone.
    const actors = await this.#store.actors();
    // 2. Who lives. Those that were not heard of are taken out first, unless they are heard meanwhile.
    let rows = await this.#store.all();
    const late = rows.filter(({ now, seenAt }) => now - seenAt > this.#goneAfterMilliseconds);
    if (late.length > 0) {
      for (const row of late) await this.#takeOut(row);
      rows = await this.#store.all();
    }
    // 3. This one was taken for dead: what it has begun is not its own any more.
    if (!rows.some(({ id }) => id === storage.nodeId) && !this.#isStopped) {
      storage.renewNodeId();
      await this.#register();
      log.warn({ node: storage.nodeId }, 'this node was taken for dead, and registered anew');
    }
    // 4. Who was there, or has begun something, and is not there any more.
    const living = new Set([...rows.map(({ id }) => id), storage.nodeId]);
    for (const id of [...actors, ...late.map((row) => row.id), ...this.#living]) {
      if (living.has(id) || this.#gone.has(id)) continue;
      // First: where it fails, the next look finds the node as this one did.
      await storage.commit({ steps: [this.#store.endLeases(id)], entries: [] });
      this.#gone.add(id);
      this.#isTold = false;
      log.info({ node: id }, 'a node is gone');
    }
    this.#living = living;
    await this.#tell();
  }

  async #tell(): Promise<void> {
    // While the service starts nobody listens yet: who comes then is told.
    if (this.#isTold || this.#listeners.length === 0) return;
    this.#isTold = true;
    for (const listener of this.#listeners) {
      try {
        await listener();
      } catch (error) {
        this.#isTold = false;
        this.#options.log.error({ err: error }, 'what a node left behind could not be settled');
      }
    }
  }
}
