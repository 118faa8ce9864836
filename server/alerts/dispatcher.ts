import type { Clock } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import type { Sealer } from '../commands/commands.ts';
import type { Storage } from '../storage/storage.ts';
import { deliverQueue } from './delivery.ts';
import { fanOut } from './fan-out.ts';
import type { Sender } from './sender.ts';
import { createSender } from './senders.ts';
import type { Target } from './target.ts';
import { readTargets } from './target-store.ts';

export interface DispatcherLog {
  warn(fields: object, message: string): void;
}

export interface DispatcherOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: DispatcherLog;
  readonly sealer: Sealer;
  readonly installationId: string;
  /** From 0 to 1; Math.random where left out. */
  readonly random?: () => number;
  /** The most that waits for one target (100,000). */
  readonly queueMax?: number;
}

export const queueMaxDefault = 100_000;
/** What is being sent at a stop is waited for so long. */
const stopMilliseconds = 2000;

interface OpenSender {
  readonly revision: number;
  readonly sender: Sender;
}

/**
 * Carries alerts from the outbox to their receivers. `round` is called again and again; it waits
 * for no receiver, so that one that hangs holds up nobody else.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #senders = new Map<string, OpenSender>();
  readonly #busy = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  #known: { readonly epoch: number; readonly targets: readonly Target[] } | undefined;
  #isStopped = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Hands new alerts to their queues, and begins to deliver what is due. */
  async round(): Promise<void> {
    if (this.#isStopped) return;
    const { storage, clock, installationId, queueMax = queueMaxDefault } = this.#options;
    const targets = await this.#targets();
    const options = { storage, clock, installationId, queueMax };
    try {
      while ((await fanOut(options, targets)) > 0);
    } catch (error) {
      // A target was removed, or another node was quicker: the next round sees it.
      if (!isKeyreeveError(error, 'conflict')) throw error;
      this.#known = undefined;
    }
    for (const target of targets) this.#begin(target);
  }

  /** Resolves once nothing is being delivered: for tests, and before a process ends. */
  async idle(): Promise<void> {
    await Promise.all(this.#busy.values());
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const late = setTimeout(() => this.#stopping.abort(), stopMilliseconds);
    await this.idle();
    clearTimeout(late);
    for (const { sender } of this.#senders.values()) sender.close();
    this.#senders.clear();
  }

  async #targets(): Promise<readonly Target[]> {
    const { epoch } = this.#options.storage;
    if (this.#known?.epoch === epoch) return this.#known.targets;
    const targets = await readTargets(this.#options.storage);
    for (const [id, { revision, sender }] of this.#senders) {
      if (this.#busy.has(id)) continue;
      if (targets.some((one) => one.id === id && one.revision === revision)) continue;
      sender.close();
      this.#senders.delete(id);
    }
    this.#known = { epoch, targets };
    return targets;
  }

  #begin(target: Target): void {
    const { log } = this.#options;
    if (this.#busy.has(target.id)) return;
    const work = this.#deliver(target)
      .catch((error: unknown) => {
        log.warn({ err: error, target: target.name }, 'delivering alerts failed');
      })
      .finally(() => this.#busy.delete(target.id));
    this.#busy.set(target.id, work);
  }

  async #deliver(target: Target): Promise<void> {
    const { storage, clock, random = Math.random } = this.#options;
    const sender = this.#senderOf(target);
    const isMeant = () => this.#isMeant(target);
    await deliverQueue({ storage, clock, random, isMeant }, target, sender, this.#stopping.signal);
  }

  /** Whether the target is still there as it was. */
  async #isMeant({ id, revision }: Target): Promise<boolean> {
    const targets = await this.#targets();
    return targets.some((one) => one.id === id && one.revision === revision);
  }

  #senderOf(target: Target): Sender {
    const open = this.#senders.get(target.id);
    if (open?.revision === target.revision) return open.sender;
    open?.sender.close();
    const sender = createSender(target, this.#options.sealer, this.#options.clock);
    this.#senders.set(target.id, { revision: target.revision, sender });
    return sender;
  }
}
