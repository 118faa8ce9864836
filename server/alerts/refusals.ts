import type { EntryDraft } from '../../api/entry.ts';
import type { Clock } from '../base/clock.ts';

export const refusalWindowSeconds = 300;
/** So many refusals of one caller within a window are an alert ... */
export const refusalsFirst = 5;
/** ... and then each time that it is so many times more. */
export const refusalsGrowth = 4;
/** Alerts about refusals within a window, whoever was refused. */
export const refusalAlertsMax = 100;
const callersMax = 10_000;

interface Count {
  since: number;
  count: number;
  next: number;
}

/**
 * Counts who is refused how often. One alert stands for many refusals: a caller that knocks a
 * thousand times a second makes some eight of them in five minutes. Each node counts for itself.
 */
export class Refusals {
  readonly #clock: Clock;
  readonly #counts = new Map<string, Count>();
  #alerts: { since: number; count: number } = { since: 0, count: 0 };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How often its caller was refused, where this refusal is the one to be told; else undefined. */
  note(entry: EntryDraft): number | undefined {
    const caller = entry.principalId ?? entry.address ?? '';
    const now = this.#clock.monotonic();
    const known = this.#counts.get(caller);
    const isCurrent = known !== undefined && now - known.since <= refusalWindowSeconds * 1000;
    const counted = isCurrent ? known : { since: now, count: 0, next: refusalsFirst };
    // Those who were quiet longest are forgotten first.
    this.#counts.delete(caller);
    this.#counts.set(caller, counted);
    if (this.#counts.size > callersMax) {
      const [oldest] = this.#counts.keys();
      if (oldest !== undefined) this.#counts.delete(oldest);
    }
    counted.count += 1;
    if (counted.count < counted.next || !this.#mayAlert(now)) return undefined;
    counted.next = counted.count * refusalsGrowth;
    return counted.count;
  }

  #mayAlert(now: number): boolean {
    if (now - this.#alerts.since > refusalWindowSeconds * 1000) {
      this.#alerts = { since: now, count: 0 };
    }
    this.#alerts.count += 1;
    return this.#alerts.count <= refusalAlertsMax;
  }
}
