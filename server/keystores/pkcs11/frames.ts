/**
 * What travels between the service and the child process that holds a module: frames of
 *
 *     u32 length of the rest | u32 id | u8 code | u32 length of head | head
 *         | u16 number of items | for each: u32 length | bytes
 *
 * in little endian. A request's code is its command, an answer's its status. The head is JSON and
 * the same for all uses of a key in one way, so that the other side reads it once; what differs
 * from call to call, and what is secret, are the items.
 */
export interface Frame {
  readonly id: number;
  readonly code: number;
  /** A view into what was received. */
  readonly head: Buffer;
  /** Views into what was received. */
  readonly items: readonly Buffer[];
}

export const frameBytesMaximum = 64 * 1024 * 1024;
const lengthBytes = 4;
const fixedBytes = 4 + 1 + 4 + 2;
const firstCapacityBytes = 16 * 1024;
/** A buffer that one large call made is not kept. */
const keptCapacityBytes = 1024 * 1024;

/** Collects frames until they are taken, so that many travel in one write. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafeSlow(firstCapacityBytes);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  write(id: number, code: number, head: Uint8Array, items: readonly Uint8Array[]): void {
    let size = fixedBytes + head.length;
    for (const item of items) size += lengthBytes + item.length;
    this.#reserve(lengthBytes + size);
    const buffer = this.#buffer;
    let offset = buffer.writeUInt32LE(size, this.#length);
    offset = buffer.writeUInt32LE(id, offset);
    offset = buffer.writeUInt8(code, offset);
    offset = buffer.writeUInt32LE(head.length, offset);
    buffer.set(head, offset);
    offset = buffer.writeUInt16LE(items.length, offset + head.length);
    for (const item of items) {
      offset = buffer.writeUInt32LE(item.length, offset);
      buffer.set(item, offset);
      offset += item.length;
    }
    this.#length = offset;
  }

  /** A copy of what was written since the last time; the buffer is wiped, secrets were in it. */
  take(): Buffer {
    const bytes = Buffer.from(this.#buffer.subarray(0, this.#length));
    this.clear();
    return bytes;
  }

  /** What was written, in place: valid until the next call of anything here. */
  peek(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#buffer.fill(0, 0, this.#length);
    this.#length = 0;
    if (this.#buffer.length > keptCapacityBytes) {
      this.#buffer = Buffer.allocUnsafeSlow(firstCapacityBytes);
    }
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer.fill(0);
    this.#buffer = larger;
  }
}

/** Cuts what arrives into frames. Error: Error, where it is not what a FrameWriter wrote. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #wantedBytes = 0;

  /** Takes the chunk over: it must not be written to afterwards. */
  *read(chunk: Buffer): Generator<Frame> {
    // Joined only when the frame is whole: a large one would else be copied once for each chunk.
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    if (this.#rest.length + this.#pendingBytes < this.#wantedBytes) return;
    let bytes =
      this.#rest.length === 0 && this.#pending.length === 1
        ? chunk
        : Buffer.concat([this.#rest, ...this.#pending]);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#wantedBytes = 0;
    while (bytes.length >= lengthBytes) {
      const size = bytes.readUInt32LE(0);
      if (size < fixedBytes || size > frameBytesMaximum) throw new Error('a frame is damaged');
      if (bytes.length < lengthBytes + size) {
        this.#wantedBytes = lengthBytes + size;
        break;
      }
      // Set before the caller has its turn: it may stop reading in the middle.
      const frame = parseFrame(bytes.subarray(lengthBytes, lengthBytes + size));
      bytes = bytes.subarray(lengthBytes + size);
      yield frame;
    }
    this.#rest = bytes;
  }
}

function parseFrame(bytes: Buffer): Frame {
  const id = bytes.readUInt32LE(0);
  const code = bytes.readUInt8(4);
  const headEnd = 9 + bytes.readUInt32LE(5);
  const head = bytes.subarray(9, headEnd);
  const items = new Array<Buffer>(bytes.readUInt16LE(headEnd));
  let offset = headEnd + 2;
  for (let index = 0; index < items.length; index++) {
    const start = offset + lengthBytes;
    offset = start + bytes.readUInt32LE(offset);
    if (offset > bytes.length) throw new Error('a frame is damaged');
    items[index] = bytes.subarray(start, offset);
  }
  if (offset !== bytes.length) throw new Error('a frame is damaged');
  return { id, code, head, items };
}
