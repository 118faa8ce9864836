import { LruMap } from '../../base/lru-map.ts';
import type { DestroyRequest, FindRequest, FoundObject } from './protocol.ts';
import { Supervisor, type SupervisorOptions } from './supervisor.ts';

/** After a look that found nothing: who uses a key that is gone must not start a child each time. */
const pauseMilliseconds = 1000;
/** Objects that were looked for in vain, of which that is remembered. */
const absentMax = 1000;

/**
 * Asks the token by way of a child of its own, which lives for one question. A child that has served
 * for a while may answer from memory: some modules do not see what others made, and some do as they
 * are told with a token that is gone.
 */
export class FreshLook {
  readonly #options: SupervisorOptions;
  readonly #running = new Set<Supervisor>();
  #refusedPin: string | undefined;
  #isStopped = false;
  /** When each object was looked for in vain last. */
  readonly #absentAt = new LruMap<string, number>(absentMax);

  constructor(options: SupervisorOptions) {
    this.#options = { ...options, settings: { ...options.settings, sessions: 1 } };
  }

  /**
   * Removes what is left of a key: it is gone when this resolves. `refusedPin`: what the token has
   * refused elsewhere. Errors: those of any use.
   */
  async destroy(refusedPin: string | undefined, key: DestroyRequest): Promise<void> {
    const head = Buffer.from(JSON.stringify(key));
    await this.#ask(refusedPin, (supervisor) => supervisor.call('destroy', head));
  }

  /** Whether an object is there that a child of some age may not see: another node has made it. */
  async sees(
    refusedPin: string | undefined,
    request: FindRequest,
    isMeant: (object: FoundObject) => boolean,
  ): Promise<boolean> {
    const { clock } = this.#options;
    const question = JSON.stringify({ ...request, details: false });
    // Of this object alone: another one may have been made meanwhile.
    const absentAt = this.#absentAt.get(question);
    if (absentAt !== undefined && clock.monotonic() - absentAt < pauseMilliseconds) return false;
    const head = Buffer.from(question);
    const answer = await this.#ask(refusedPin, (supervisor) => supervisor.call('find', head));
    const found = JSON.parse(answer.head.toString('utf8')) as FoundObject[];
    if (found.some(isMeant)) return true;
    this.#absentAt.set(question, clock.monotonic());
    return false;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#running].map((supervisor) => supervisor.stop()));
  }

  async #ask<Result>(
    refusedPin: string | undefined,
    question: (supervisor: Supervisor) => Promise<Result>,
  ): Promise<Result> {
    const supervisor = new Supervisor({
      ...this.#options,
      refusedPin: refusedPin ?? this.#refusedPin,
    });
    this.#running.add(supervisor);
    try {
      if (this.#isStopped) await supervisor.stop();
      return await question(supervisor);
    } finally {
      this.#refusedPin = supervisor.refusedPin;
      await supervisor.stop();
      this.#running.delete(supervisor);
    }
  }
}
