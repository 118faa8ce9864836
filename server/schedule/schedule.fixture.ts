/** What tests of the schedule share: time that is moved by hand, and several nodes on one database. */
import type { Clock } from '../base/clock.ts';
import type { Storage } from '../storage/storage.ts';
import type { Timer } from './schedule.ts';

/** Clock and timer in one: what is due runs when time is moved to it, in order. */
export class HandTime implements Clock, Timer {
  #now: number;
  readonly #waiting = new Set<{ at: number; run: () => void }>();

  constructor(start = Date.UTC(2030, 0, 1)) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(milliseconds: number, run: () => void): () => void {
    const entry = { at: this.#now + milliseconds, run };
    this.#waiting.add(entry);
    return () => this.#waiting.delete(entry);
  }

  /** Moves time on; `settle` waits for what a moment began, before time goes further. */
  async advance(seconds: number, settle: () => Promise<void>): Promise<void> {
    const end = this.#now + seconds * 1000;
    for (;;) {
      const next = [...this.#waiting].sort((one, other) => one.at - other.at)[0];
      if (next === undefined || next.at > end) break;
      this.#now = Math.max(this.#now, next.at);
      this.#waiting.delete(next);
      next.run();
      await settle();
    }
    this.#now = end;
  }
}

/** The same database as another node sees it. */
export function asNode(storage: Storage, nodeId: string): Storage {
  return Object.create(storage, { nodeId: { value: nodeId } });
}

/** Storage that counts its commits. */
export function countingCommits(storage: Storage): { storage: Storage; commits: () => number } {
  let commits = 0;
  const commit: Storage['commit'] = (write) => {
    commits += 1;
    return storage.commit(write);
  };
  const counting: Storage = Object.create(storage, { commit: { value: commit } });
  return { storage: counting, commits: () => commits };
}

/** A log that keeps its messages. */
export function listeningLog() {
  const lines: { level: string; facts: object; message: string }[] = [];
  const at = (level: string) => (facts: object, message: string) => {
    lines.push({ level, facts, message });
  };
  return { lines, info: at('info'), error: at('error') };
}
