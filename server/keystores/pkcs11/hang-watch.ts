import { type CallLimits, deadlineMilliseconds } from './call.ts';
import type { Lane } from './lane.ts';

const watchMilliseconds = 100;
/** A look that comes so late says that this process stood still, not the child. */
const lateMilliseconds = 500;

/** Looks again and again whether a child is at one call for too long. */
export class HangWatch {
  readonly #limits: CallLimits;
  readonly #now: () => number;
  readonly #look: (now: number) => void;
  #timer: NodeJS.Timeout | undefined;
  #lookedAt = 0;

  /** `look` is called with the time, unless the look comes late. */
  constructor(limits: CallLimits, now: () => number, look: (now: number) => void) {
    this.#limits = limits;
    this.#now = now;
    this.#look = look;
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#lookedAt = this.#now();
    this.#timer = setInterval(() => this.#tick(), watchMilliseconds).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The command that one of the lanes is at for longer than it may take; undefined for none. */
  hangingAmong(lanes: readonly Lane[], now: number): string | undefined {
    for (const { current } of lanes) {
      if (current === undefined) continue;
      const limit = deadlineMilliseconds(current.call, this.#limits);
      if (now - current.since > limit) return current.call.command;
    }
    return undefined;
  }

  #tick(): void {
    const now = this.#now();
    const isLate = now - this.#lookedAt > watchMilliseconds + lateMilliseconds;
    this.#lookedAt = now;
    if (!isLate) this.#look(now);
  }
}
