import type { Alert } from '../../api/alerts.ts';
import { jitteredSeconds } from '../base/backoff.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Storage } from '../storage/storage.ts';
import {
  claimStep,
  queueOf,
  retryStep,
  settleSteps,
  type WaitingAlert,
  waitingAlerts,
} from './queue.ts';
import { reasonOf, type Sender, SendFailure } from './sender.ts';
import type { Target } from './target.ts';
import { deliveredStep, failedStep } from './target-store.ts';

/**
 * How long a process may be busy with the head of a queue before others take it for dead; longer
 * than any sender takes.
 */
export const claimSeconds = 60;
/** Ceilings of the pause after a first failure, and after many. */
const firstSeconds = 1;
export const longestSeconds = 300;
/** No pause is shorter, however the dice fall. */
const shortestSeconds = 0.5;
/** After so many failures in a row the record says that a target is not reached. */
export const failingAttempts = 6;
/** Alerts read at once. */
const readMax = 500;

export interface DeliveryOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  /** False once the target was changed or removed: what still waits is not for this sender. */
  readonly isMeant: () => Promise<boolean>;
}

/**
 * Delivers what waits for one target, strictly in order, until nothing waits, something fails, or
 * the target is another.
 * The head of the queue is claimed first and settled after, each compared with what was read: of
 * several processes one sends, and one that slept finds its claim gone and changes nothing.
 */
export async function deliverQueue(
  options: DeliveryOptions,
  target: Target,
  sender: Sender,
  signal: AbortSignal,
): Promise<void> {
  const { storage, clock } = options;
  for (;;) {
    let waiting = await waitingAlerts(storage, queueOf(target.id), readMax);
    const [head] = waiting;
    if (head === undefined || head.nextAttemptAt > clock.now()) return;
    if (!(await options.isMeant())) return;
    if (!(await committed(storage.commit({ steps: [claim(options, head)], entries: [] })))) return;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, sender.batchMax);
      waiting = waiting.slice(batch.length);
      if (!(await deliverBatch(options, target, sender, signal, batch, waiting[0]))) return;
    }
  }
}

/** Pause after so many attempts: by chance, below a ceiling that doubles up to five minutes. */
export function retrySeconds(attempts: number, random: () => number): number {
  const limits = { firstSeconds, longestSeconds };
  return Math.max(shortestSeconds, jitteredSeconds(attempts, limits, random()));
}

/** Sends a batch whose head is claimed; true where the next is claimed and may follow. */
async function deliverBatch(
  options: DeliveryOptions,
  target: Target,
  sender: Sender,
  signal: AbortSignal,
  batch: readonly WaitingAlert[],
  next: WaitingAlert | undefined,
): Promise<boolean> {
  const { storage, clock } = options;
  const head = batch[0]!;
  let remark: string | undefined;
  try {
    const alerts = batch.map(({ payload }) => JSON.parse(payload) as Alert);
    remark = await sender.send(alerts, signal);
  } catch (error) {
    await putBack(options, target, head, error, signal);
    return false;
  }
  const wasFailing = head.attempts + 1 > failingAttempts;
  const follows = next !== undefined && (await options.isMeant());
  const settled = storage.commit({
    steps: [
      ...settleSteps(storage, batch),
      ...(follows ? [claim(options, next)] : []),
      deliveredStep(storage, target.id, clock.now(), remark),
    ],
    entries: wasFailing
      ? [serviceEntry(clock, 'alert.recovered', 'ok', { resource: target.name })]
      : [],
  });
  return (await committed(settled)) && (follows || next === undefined);
}

/** Counts the failure and lets the queue wait; what was only broken off by a stop waits for none. */
async function putBack(
  { storage, clock, random }: DeliveryOptions,
  target: Target,
  head: WaitingAlert,
  error: unknown,
  signal: AbortSignal,
): Promise<void> {
  const now = clock.now();
  if (signal.aborted) {
    await committed(storage.commit({ steps: [retryStep(storage, head, now)], entries: [] }));
    return;
  }
  const attempts = head.attempts + 1;
  const reason = reasonOf(error);
  const asked = error instanceof SendFailure ? (error.retryAfterSeconds ?? 0) : 0;
  const pause = Math.max(retrySeconds(attempts, random), asked);
  const write = storage.commit({
    steps: [
      retryStep(storage, head, now + Math.ceil(pause * 1000)),
      failedStep(storage, target.id, now, reason),
    ],
    entries:
      attempts === failingAttempts
        ? [
            serviceEntry(clock, 'alert.failing', 'unreachable', {
              resource: target.name,
              detail: canonicalJson({ reason, attempts }),
            }),
          ]
        : [],
  });
  await committed(write);
}

function claim({ storage, clock }: DeliveryOptions, head: WaitingAlert) {
  return claimStep(storage, head, clock.now() + claimSeconds * 1000);
}

/** False where another process, or the removal of the target, came first. */
async function committed(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'conflict')) return false;
    throw error;
  }
}
