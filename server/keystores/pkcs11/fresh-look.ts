import type { DestroyRequest } from './protocol.ts';
import { Supervisor, type SupervisorOptions } from './supervisor.ts';

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
