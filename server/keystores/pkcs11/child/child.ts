/**
 * The process that a PKCS #11 module is loaded into. Its main thread starts the module, logs in
 * and tells whether the token is there; its other threads use keys, each with a session and a lane
 * of its own. It ends when the service does.
 */
import { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { type Frame, FrameReader, FrameWriter } from '../frames.ts';
import {
  commandNamed,
  controlDescriptor,
  type Fault,
  firstLaneDescriptor,
  type StartAnswer,
  type StartRequest,
  statusFault,
  statusOk,
} from '../protocol.ts';
import { faultKind, returnValues } from '../return-values.ts';
import {
  type Handle,
  loadModule,
  messageOf,
  type NativeModule,
  returnValueOf,
  StartError,
} from './addon.ts';
import type { GuardSettings } from './guard.ts';
import { type SharedLogin, shareLogin } from './login.ts';
import { TokenSession } from './session.ts';
import { findSlot, needsLogin, readFacts } from './slots.ts';
import type { ThreadGreeting, ThreadSettings } from './thread.ts';

const osLockingOk = 2;
/** A module that hangs while it is ended must not leave a process behind. */
const endMilliseconds = 2000;
const threadMemoryMegabytes = 64;
const guardMemoryMegabytes = 16;

interface Started {
  readonly module: NativeModule;
  readonly session: TokenSession;
  readonly threads: readonly Worker[];
}

let started: Started | undefined;
const control = new Socket({ fd: controlDescriptor });
const reader = new FrameReader();

new Worker(new URL('./guard.ts', import.meta.url), {
  workerData: { servicePid: process.ppid, endMilliseconds } satisfies GuardSettings,
  resourceLimits: { maxOldGenerationSizeMb: guardMemoryMegabytes },
});

// Ctrl-C in a terminal, and systemd, tell every process of the service: this one is needed until
// the service has finished what is under way.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

control.on('data', (chunk: Buffer) => {
  for (const frame of reader.read(chunk)) void answer(frame);
});
control.on('error', end);
control.on('end', end);
control.on('close', end);

async function answer(frame: Frame): Promise<void> {
  const writer = new FrameWriter();
  try {
    const result = await run(frame);
    const head = result === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(result));
    writer.write(frame.id, statusOk, head, []);
  } catch (error) {
    writer.write(frame.id, statusFault, Buffer.from(JSON.stringify(faultOf(error))), []);
  }
  control.write(writer.take());
}

async function run(frame: Frame): Promise<StartAnswer | undefined> {
  const command = commandNamed(frame.code);
  if (command === 'start' && started === undefined) {
    const request = JSON.parse(frame.head.toString('utf8')) as StartRequest;
    return start(request, request.hasPin ? frame.items[0] : undefined);
  }
  if (command !== 'probe' || started === undefined) throw new Error('not started');
  started.session.probe();
  return undefined;
}

async function start(request: StartRequest, pin: Buffer | undefined): Promise<StartAnswer> {
  const module = loadModule(request.modulePath);
  const hasThreads = initialize(module);
  const slot = findSlot(module, request.token);
  if (pin === undefined && needsLogin(module, slot)) {
    throw new StartError('pin-missing', 'the token asks for a PIN');
  }
  const login = shareLogin(pin);
  pin?.fill(0);
  // Kept open: a login ends with the last session of the process.
  const session = new TokenSession(module, slot, login);
  session.open();
  const facts = readFacts(module, slot);
  const indexes = Array.from({ length: hasThreads ? request.lanes : 1 }, (_none, index) => index);
  const opened = await Promise.all(
    indexes.map((index) => startThread(request.modulePath, slot, login, index)),
  );
  const lanes = indexes.filter((index) => opened[index] !== undefined);
  const threads = opened.filter((thread) => thread !== undefined);
  if (threads.length === 0) throw nativeError('CKR_SESSION_COUNT', returnValues.sessionCount);
  started = { module, session, threads };
  return { facts, lanes };
}

/** C_Initialize for several threads, or for one where the module can do no other. */
function initialize(module: NativeModule): boolean {
  try {
    // Without this flag modules do not lock, and threads crash them.
    module.C_Initialize({ flags: osLockingOk });
    return true;
  } catch (error) {
    if (returnValueOf(error) !== returnValues.cannotLock) throw error;
    module.C_Initialize({ flags: 0 });
    return false;
  }
}

/** A thread with a session; undefined where the token has no more sessions. */
async function startThread(
  modulePath: string,
  slot: Handle,
  login: SharedLogin,
  index: number,
): Promise<Worker | undefined> {
  const descriptor = firstLaneDescriptor + index;
  const thread = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: { modulePath, slot, login, descriptor } satisfies ThreadSettings,
    resourceLimits: { maxOldGenerationSizeMb: threadMemoryMegabytes },
  });
  const greeting = await new Promise<ThreadGreeting>((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
  });
  if (greeting.error === undefined) {
    // A thread that fails leaves its lane unanswered: better the whole process starts again.
    thread.once('error', (error) => {
      process.stderr.write(`a thread failed: ${messageOf(error)}\n`);
      process.kill(process.pid, 'SIGKILL');
    });
    return thread;
  }
  const { returnValue, message } = greeting.error;
  if (returnValue === returnValues.sessionCount) return undefined;
  throw nativeError(message, returnValue);
}

/** What a thread met, as if it had been met here. */
function nativeError(message: string, returnValue: number | undefined): Error {
  return Object.assign(new Error(message), { name: 'Pkcs11Error', code: returnValue });
}

function faultOf(error: unknown): Fault {
  if (error instanceof StartError) return { kind: error.kind, text: error.message };
  const value = returnValueOf(error);
  const kind = value === undefined ? 'other' : faultKind(value);
  const isPin = kind === 'pin' || kind === 'pin-locked';
  const text = messageOf(error);
  if (started === undefined) return { kind: isPin ? kind : 'start-failed', text };
  // A token that cannot say that it is there is gone, whatever the module calls that: only a new
  // process gets it back.
  return { kind: kind === 'other' ? 'device' : kind, text };
}

let isEnding = false;
function end(): void {
  if (isEnding) return;
  isEnding = true;
  // Also where a thread hangs in the module, which an orderly end would wait for.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), endMilliseconds);
  void endInOrder();
}

async function endInOrder(): Promise<void> {
  if (started !== undefined) {
    const { threads, session, module } = started;
    // Their lanes have ended too, so they leave by themselves.
    await Promise.all(
      threads.map((thread) => new Promise((resolve) => thread.once('exit', resolve))),
    );
    session.close();
    module.C_Finalize();
  }
  process.exit(0);
}
