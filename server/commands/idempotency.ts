import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Step, Storage } from '../storage/storage.ts';

/** Seals what must not lie in the database in clear. `label` binds it to its place. */
export interface Sealer {
  seal(label: string, bytes: Uint8Array): Uint8Array;
  unseal(label: string, sealed: Uint8Array): Uint8Array;
}

export const idempotencyTtlSeconds = 86_400;

/**
 * Makes a repeated command answer what the first one answered. Keys are per principal, and stand
 * for one request of one credential; the answer is written by the commit that did the work, so that it is there exactly when
 * the work is.
 */
export class Idempotency {
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #sealer: Sealer;
  readonly #running = new Set<string>();

  constructor(storage: Storage, clock: Clock, sealer: Sealer) {
    this.#storage = storage;
    this.#clock = clock;
    this.#sealer = sealer;
  }

  async once<Result>(
    principalId: string,
    key: string,
    digest: string,
    work: (keep: (result: unknown) => readonly Step[]) => Promise<Result>,
  ): Promise<Result> {
    const slot = `${principalId}\n${key}`;
    if (this.#running.has(slot)) {
      throw new KeyreeveError(
        'idempotency-in-progress',
        'A request with this idempotency key is still running.',
        { hint: 'Repeat it in a moment.', retryAfterSeconds: 1 },
      );
    }
    this.#running.add(slot);
    try {
      const before = await this.#find(principalId, key, digest);
      if (before !== undefined) return before as Result;
      return await this.#orAnswered(
        () => this.#find(principalId, key, digest),
        () => work((result) => this.#keep(principalId, key, digest, result)),
      );
    } finally {
      this.#running.delete(slot);
    }
  }

  /**
   * What another node has done under the same key while this one was at it, whatever that made of
   * the work here: it is refused since the other's write stands.
   */
  async #orAnswered<Result>(
    find: () => Promise<unknown>,
    work: () => Promise<Result>,
  ): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof KeyreeveError) || error.status >= 500) throw error;
      const answered = await find();
      if (answered === undefined) throw error;
      return answered as Result;
    }
  }

  async #find(principalId: string, key: string, digest: string): Promise<unknown> {
    const row = await this.#storage.db
      .selectFrom('idempotency')
      .select(['request_digest', 'response', 'expires_at'])
      .where('principal_id', '=', principalId)
      .where('idempotency_key', '=', key)
      .executeTakeFirst();
    if (row === undefined || row.expires_at <= this.#clock.now()) return undefined;
    if (row.request_digest !== digest) {
      throw new KeyreeveError(
        'idempotency-mismatch',
        'This idempotency key was used for another request.',
        { hint: 'Take a new idempotency key for each new request.' },
      );
    }
    const bytes = this.#sealer.unseal(label(principalId, key), row.response);
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  }

  #keep(principalId: string, key: string, digest: string, result: unknown): readonly Step[] {
    const now = this.#clock.now();
    const sealed = this.#sealer.seal(
      label(principalId, key),
      Buffer.from(JSON.stringify(result), 'utf8'),
    );
    const { db } = this.#storage;
    return [
      {
        query: db
          .deleteFrom('idempotency')
          .where('principal_id', '=', principalId)
          .where('idempotency_key', '=', key)
          .where('expires_at', '<=', now)
          .compile(),
      },
      {
        query: db
          .insertInto('idempotency')
          .values({
            principal_id: principalId,
            idempotency_key: key,
            request_digest: digest,
            status: 200,
            response: sealed,
            created_at: now,
            expires_at: now + idempotencyTtlSeconds * 1000,
          })
          .compile(),
        expect: {
          rows: 1,
          code: 'idempotency-in-progress',
          message: 'A request with this idempotency key was done meanwhile.',
          hint: 'Repeat it: the answer will be the same.',
        },
      },
    ];
  }

  /** Forgets answers past their time. */
  expired(): Step {
    return {
      query: this.#storage.db
        .deleteFrom('idempotency')
        .where('expires_at', '<=', this.#clock.now())
        .compile(),
    };
  }
}

function label(principalId: string, key: string): string {
  return `idempotency\n${principalId}\n${key}`;
}
