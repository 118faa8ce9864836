import { type Call, expectedMilliseconds } from './call.ts';
import type { Lane } from './lane.ts';
import { commands } from './protocol.ts';

/** Work that is sent to a thread before it has answered: it must not run dry between two reads. */
const aheadMilliseconds = 8;

/** Calls that wait for their turn: uses of keys, and everything else, which takes longer. */
export class CallQueue {
  readonly #uses: Call[] = [];
  readonly #others: Call[] = [];

  get length(): number {
    return this.#uses.length + this.#others.length;
  }

  push(call: Call): void {
    this.#lineOf(call).push(call);
  }

  pushFront(call: Call): void {
    this.#lineOf(call).unshift(call);
  }

  takeAll(): Call[] {
    return [...this.#uses.splice(0), ...this.#others.splice(0)];
  }

  /** Takes the calls whose callers have waited since before then. */
  takeOlder(since: number): Call[] {
    return [this.#uses, this.#others].flatMap((calls) => {
      if (!calls.some((call) => call.since < since)) return [];
      const all = calls.splice(0);
      calls.push(...all.filter((call) => call.since >= since));
      return all.filter((call) => call.since < since);
    });
  }

  /** Sends what waits to the threads that have least to do. */
  distribute(lanes: readonly Lane[]): void {
    // One lane is left to uses: making keys takes seconds.
    send(this.#others, lanes.length > 1 ? lanes.slice(1) : lanes);
    send(this.#uses, lanes);
  }

  #lineOf(call: Call): Call[] {
    return commands[call.command].isUse ? this.#uses : this.#others;
  }
}

function send(calls: Call[], lanes: readonly Lane[]): void {
  let taken = 0;
  while (taken < calls.length) {
    const call = calls[taken]!;
    const lane = leastLoaded(lanes);
    if (lane.load > 0 && lane.load + expectedMilliseconds(call) > aheadMilliseconds) break;
    taken++;
    lane.send(call);
  }
  if (taken > 0) calls.splice(0, taken);
}

function leastLoaded(lanes: readonly Lane[]): Lane {
  let least = lanes[0]!;
  for (const lane of lanes) if (lane.load < least.load) least = lane;
  return least;
}
