/**
 * A thread of the child: one session, one lane. It blocks on reading, works on what came, and
 * answers several requests in one write where they are quick.
 */
import { readSync, writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { FrameReader, FrameWriter } from '../frames.ts';
import { commandNamed, statusFault, statusOk } from '../protocol.ts';
import { loadModule, messageOf, returnValueOf } from './addon.ts';
import type { SharedLogin } from './login.ts';
import { CommandError, TokenSession } from './session.ts';

export interface ThreadSettings {
  readonly modulePath: string;
  readonly slot: Uint8Array;
  readonly login: SharedLogin;
  readonly descriptor: number;
}

/** What a thread says when it is ready, or that it got no session. */
export interface ThreadGreeting {
  readonly error?: { readonly message: string; readonly returnValue: number | undefined };
}

const readBytes = 64 * 1024;
/** An answer waits for the ones behind it no longer than this. */
const holdMilliseconds = 0.5;
const noBytes = Buffer.alloc(0);

const settings = workerData as ThreadSettings;
const module = loadModule(settings.modulePath);
const session = new TokenSession(module, Buffer.from(settings.slot), settings.login);
greet();

function greet(): void {
  try {
    session.open();
  } catch (error) {
    const returnValue = returnValueOf(error);
    parentPort?.postMessage({ error: { message: messageOf(error), returnValue } });
    return;
  }
  parentPort?.postMessage({} satisfies ThreadGreeting);
  serve(settings.descriptor);
  session.close();
}

function serve(descriptor: number): void {
  const reader = new FrameReader();
  const writer = new FrameWriter();
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(readBytes);
    let length: number;
    try {
      length = readSync(descriptor, chunk);
    } catch {
      return;
    }
    if (length === 0) return;
    let heldSince = performance.now();
    for (const frame of reader.read(chunk.subarray(0, length))) {
      answer(writer, frame.id, frame.code, frame.head, frame.items);
      const now = performance.now();
      if (now - heldSince < holdMilliseconds) continue;
      flush(descriptor, writer);
      heldSince = now;
    }
    flush(descriptor, writer);
  }
}

function answer(
  writer: FrameWriter,
  id: number,
  code: number,
  head: Buffer,
  items: readonly Buffer[],
): void {
  const command = commandNamed(code);
  try {
    if (command === undefined) throw new Error('an unknown command');
    const result = session.run(command, head, items);
    const text = result.head === undefined ? noBytes : Buffer.from(JSON.stringify(result.head));
    writer.write(id, statusOk, text, result.items ?? []);
  } catch (error) {
    const fault =
      error instanceof CommandError ? error.fault : { kind: 'other', text: messageOf(error) };
    writer.write(id, statusFault, Buffer.from(JSON.stringify(fault)), []);
  }
}

function flush(descriptor: number, writer: FrameWriter): void {
  const bytes = writer.peek();
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
  writer.clear();
}
