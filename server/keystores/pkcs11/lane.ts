import type { Duplex } from 'node:stream';
import { type Call, expectedMilliseconds } from './call.ts';
import { type Frame, FrameReader, FrameWriter } from './frames.ts';
import { commands } from './protocol.ts';

export interface LaneEvents {
  /** The answer to the call that was sent first. */
  answered(call: Call, frame: Frame): void;
  /** After all answers of one read. */
  drained(): void;
  /** The lane is closed, or what came over it makes no sense. */
  broken(reason: string): void;
}

interface Sent {
  readonly call: Call;
  readonly id: number;
  readonly load: number;
}

/**
 * The way to one thread of the child, which answers in the order of asking. Calls of one turn of
 * the event loop travel in one write.
 */
export class Lane {
  readonly #stream: Duplex;
  readonly #events: LaneEvents;
  readonly #now: () => number;
  readonly #writer = new FrameWriter();
  readonly #reader = new FrameReader();
  #sent: Sent[] = [];
  #first = 0;
  #nextId = 1;
  #load = 0;
  #progressAt = 0;
  #isFlushPlanned = false;

  constructor(stream: Duplex, events: LaneEvents, now: () => number) {
    this.#stream = stream;
    this.#events = events;
    this.#now = now;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (error) => events.broken(error.message));
    stream.on('close', () => events.broken('the child closed it'));
  }

  /** Milliseconds of work that were sent and not answered, by what is usual. */
  get load(): number {
    return this.#load;
  }

  /** The call that the child is at, and since when it can be. */
  get current(): { readonly call: Call; readonly since: number } | undefined {
    const sent = this.#sent[this.#first];
    return sent === undefined ? undefined : { call: sent.call, since: this.#progressAt };
  }

  send(call: Call): void {
    if (this.#first === this.#sent.length) this.#progressAt = this.#now();
    const load = expectedMilliseconds(call);
    const id = this.#nextId;
    this.#nextId = (id % 0xffff_ffff) + 1;
    this.#sent.push({ call, id, load });
    this.#load += load;
    this.#writer.write(id, commands[call.command].code, call.head, call.items);
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    process.nextTick(() => this.#flush());
  }

  /** Takes all calls that have no answer, in their order. */
  takeUnanswered(): Call[] {
    const calls = this.#sent.slice(this.#first).map(({ call }) => call);
    this.#sent = [];
    this.#first = 0;
    this.#load = 0;
    return calls;
  }

  end(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  #flush(): void {
    this.#isFlushPlanned = false;
    const bytes = this.#writer.take();
    if (this.#stream.writable) this.#stream.write(bytes);
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.read(chunk)) {
        const sent = this.#sent[this.#first];
        if (sent === undefined || sent.id !== frame.id) throw new Error('an answer to no call');
        this.#shift(sent);
        this.#events.answered(sent.call, frame);
      }
    } catch (error) {
      this.#events.broken(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#events.drained();
  }

  #shift(sent: Sent): void {
    const now = this.#now();
    const items = Math.max(1, sent.call.items.length);
    sent.call.cost.learn((now - this.#progressAt) / items);
    this.#progressAt = now;
    this.#first++;
    if (this.#first === this.#sent.length) {
      this.#sent = [];
      this.#first = 0;
      this.#load = 0;
      return;
    }
    this.#load = Math.max(0, this.#load - sent.load);
    if (this.#first >= 1024) {
      this.#sent = this.#sent.slice(this.#first);
      this.#first = 0;
    }
  }
}
