import { KeyreeveError } from '../base/errors.ts';

/** Bounds what is under way at once: requests, and the bytes of their bodies. */
export class Admission {
  readonly #requestsMax: number;
  readonly #bytesMax: number;
  #requests = 0;
  #bytes = 0;

  constructor(requestsMax: number, bytesMax: number) {
    this.#requestsMax = requestsMax;
    this.#bytesMax = bytesMax;
  }

  get requests(): number {
    return this.#requests;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Lets a request in; each needs one `leave` with the same bytes. Error: `overloaded`. */
  enter(bytes: number): void {
    if (this.#requests >= this.#requestsMax || this.#bytes + bytes > this.#bytesMax) {
      throw new KeyreeveError('overloaded', 'Too many requests are under way.', {
        hint: 'Repeat the request in a moment.',
        retryAfterSeconds: 1,
      });
    }
    this.#requests += 1;
    this.#bytes += bytes;
  }

  leave(bytes: number): void {
    this.#requests -= 1;
    this.#bytes -= bytes;
  }
}
