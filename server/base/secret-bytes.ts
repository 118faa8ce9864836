import { timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

/**
 * Holder of secret bytes. It never turns into a string, JSON or log line by accident, and wipes its
 * buffer when disposed (`using secret = ...`). JavaScript cannot promise that no copy is left: the
 * engine may have moved the bytes, and OpenSSL keeps its own.
 */
export class SecretBytes {
  #bytes: Buffer;
  #disposed = false;

  /** Takes the buffer over: the caller must not keep it. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The bytes themselves, for the cryptographic call at hand only. */
  reveal(): Buffer {
    if (this.#disposed) throw new Error('secret bytes used after disposal');
    return this.#bytes;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** Constant-time comparison. */
  equals(other: SecretBytes): boolean {
    const a = this.reveal();
    const b = other.reveal();
    return a.length === b.length && timingSafeEqual(a, b);
  }

  [Symbol.dispose](): void {
    this.#bytes.fill(0);
    this.#disposed = true;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
