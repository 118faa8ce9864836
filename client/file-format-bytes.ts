/** A stretch of a byte stream cut to size, and whether the stream ends with it. */
export interface Stretch {
  readonly bytes: Buffer;
  readonly final: boolean;
}

/**
 * Cuts a stream into stretches of exactly `size` bytes; the final one holds the rest, 1 to `size`
 * bytes, or none if the stream is empty. A stretch is valid until the next is asked for: its memory
 * is used again, or is the source's. Closes the source when left early.
 */
export async function* rechunk(
  source: AsyncIterable<Buffer>,
  size: number,
): AsyncGenerator<Stretch> {
  const held = Buffer.allocUnsafe(size);
  let filled = 0;
  for await (const input of source) {
    let offset = 0;
    while (offset < input.length) {
      // A full stretch waits for one more byte, which tells that it is not the final one.
      if (filled === size) {
        yield { bytes: held, final: false };
        filled = 0;
      }
      if (filled === 0 && input.length - offset > size) {
        yield { bytes: input.subarray(offset, offset + size), final: false };
        offset += size;
        continue;
      }
      const copied = input.copy(held, filled, offset);
      filled += copied;
      offset += copied;
    }
  }
  yield { bytes: held.subarray(0, filled), final: true };
}

/** Reads a stream from its start by numbers of bytes, then hands over what is left. */
export class StreamStart {
  #iterator: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** The next `count` bytes without taking them; fewer only if the stream ends before. */
  async peek(count: number): Promise<Buffer> {
    while (this.#held.length < count) {
      const { done, value } = await this.#iterator.next();
      if (done) break;
      // Joining copies, which also frees us from sources that use their memory again.
      this.#held = Buffer.concat([this.#held, value]);
    }
    return this.#held.subarray(0, count);
  }

  /** As `peek`, and takes the bytes. */
  async take(count: number): Promise<Buffer> {
    const bytes = await this.peek(count);
    this.#held = this.#held.subarray(bytes.length);
    return bytes;
  }

  /** Everything not taken. Leaving the iteration, even before its first step, closes the source. */
  rest(): AsyncIterableIterator<Buffer> {
    const start = this;
    return {
      async next() {
        const held = start.#held;
        if (held.length === 0) return start.#iterator.next();
        start.#held = Buffer.alloc(0);
        return { done: false, value: held };
      },
      async return() {
        await start.close();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  async close(): Promise<void> {
    this.#held = Buffer.alloc(0);
    await this.#iterator.return?.();
  }
}
