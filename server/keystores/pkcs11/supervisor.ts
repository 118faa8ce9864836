import type { Logger } from 'pino';
import type { Clock } from '../../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import { type Answer, type Call, type CallLimits, type Cost, firstCost } from './call.ts';
import { CallQueue } from './call-queue.ts';
import { childEnvironment } from './environment.ts';
import { type FaultContext, TokenFaultError, unavailable } from './faults.ts';
import type { Frame } from './frames.ts';
import { HangWatch } from './hang-watch.ts';
import { ModuleProcess } from './module-process.ts';
import { pinFileVersion, readPin } from './pin-file.ts';
import {
  type CommandName,
  commands,
  type Fault,
  type StartAnswer,
  type StartRequest,
  statusOk,
  type TokenFacts,
} from './protocol.ts';
import type { CheckedModule, Pkcs11Settings } from './settings.ts';
import type { SupervisorCounts } from './supervisor-counts.ts';

export interface SupervisorOptions {
  readonly name: string;
  readonly settings: Pkcs11Settings;
  readonly limits: CallLimits;
  readonly log: Logger;
  readonly clock: Clock;
  /** Asked before each start of the child: which module and variables it gets in place of these. */
  readonly beforeStart?: (() => Promise<CheckedModule | undefined>) | undefined;
  /** The state of the PIN file that was refused in an earlier life. */
  readonly refusedPin?: string | undefined;
  /** The state of a PIN file that the token has refused on another node, asked before each start. */
  readonly recallRefusedPin?: (() => Promise<string | undefined>) | undefined;
}

/** Calls that wait, at most: further ones are refused. */
const waitingMaximum = 20_000;
const attemptsMaximum = 3;
const restartMillisecondsMinimum = 200;
const restartMillisecondsMaximum = 5000;
/** Callers wait so long for a child that is started again; for more they are told at once. */
const patienceMilliseconds = 1000;
/** A child that lived so long did not fail at its start. */
const stableMilliseconds = 10_000;

/**
 * Keeps a child process with a module running and brings calls to it. A call is answered once: by
 * the child, by one that came after it where a second try does no harm, or with
 * `keystore-unavailable`. A child that crashes or does not answer in time is replaced.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #context: FaultContext;
  readonly #queue = new CallQueue();
  #process: ModuleProcess | undefined;
  #facts: TokenFacts | undefined;
  #failure: KeyreeveError | undefined;
  #pinVersion: string | undefined;
  #refusedPin: { readonly version: string; readonly error: KeyreeveError } | undefined;
  #starting: Promise<void> | undefined;
  #isStopped = false;
  #starts = 0;
  #failuresInRow = 0;
  #startedAt = 0;
  readonly #watch: HangWatch;
  #cutDelay: () => void = () => undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const now = () => options.clock.monotonic();
    this.#watch = new HangWatch(options.limits, now, (at) => this.#look(at));
    const { token, serial, slotId } = options.settings.token;
    this.#context = {
      keystore: options.name,
      token: `"${token ?? serial ?? `in slot ${slotId}`}"`,
      modulePath: options.settings.modulePath,
    };
    if (options.refusedPin !== undefined) this.#refusedBefore(options.refusedPin);
  }

  #refusedBefore(version: string): void {
    const fault = { kind: 'pin', text: 'it did so before' } as const;
    this.#refusedPin = { version, error: new TokenFaultError(this.#context, fault) };
  }

  /** The state of the PIN file that the token refused; undefined where it refused none. */
  get refusedPin(): string | undefined {
    return this.#refusedPin?.version;
  }

  get context(): FaultContext {
    return this.#context;
  }

  get counts(): SupervisorCounts {
    return {
      restarts: Math.max(0, this.#starts - 1),
      sessions: this.#process?.lanes.length ?? 0,
      waiting: this.#queue.length,
      pid: this.#process?.pid,
    };
  }

  /** What the token says about itself; starts the child where there is none. */
  async facts(): Promise<TokenFacts> {
    if (this.#facts === undefined || this.#process === undefined) await this.#ready();
    if (this.#facts === undefined) throw this.#gone('it ended');
    return this.#facts;
  }

  /** Asks the token whether it is there. Errors: those of any call. */
  async probe(): Promise<void> {
    await this.#ready();
    const child = this.#process;
    if (child === undefined) throw this.#gone('it ended');
    await this.#ask((call) => child.control.send(call), 'probe', Buffer.alloc(0), []);
  }

  /** Makes a call. Errors: `keystore-unavailable`, and what the faults of the child mean. */
  call(
    command: CommandName,
    head: Buffer,
    items: readonly Uint8Array[] = [],
    cost?: Cost,
  ): Promise<Answer> {
    if (this.#isStopped) return Promise.reject(stopped());
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#queue.length >= waitingMaximum) {
      return Promise.reject(
        new KeyreeveError('overloaded', 'Too many calls wait for the keystore.', {
          hint: 'Try again later, or use several calls in one request.',
          retryAfterSeconds: 1,
        }),
      );
    }
    const answer = this.#ask((call) => this.#queue.push(call), command, head, items, cost);
    if (this.#process === undefined) void this.#begin(0);
    else this.#pump();
    return answer;
  }

  /** Has every thread forget the handles that it knows: objects were removed. */
  async forget(): Promise<void> {
    const lanes = this.#process?.lanes ?? [];
    await Promise.allSettled(
      lanes.map((lane) => this.#ask((call) => lane.send(call), 'forget', Buffer.alloc(0), [])),
    );
  }

  /**
   * Has a new child look at the token anew, where the one there is has been at it for a while:
   * whoever asks for keys that are not there must not keep it from work. True where it does.
   */
  renew(ageMillisecondsMinimum: number): boolean {
    const age = this.#options.clock.monotonic() - this.#startedAt;
    if (this.#process === undefined || this.#starting !== undefined) return false;
    if (age < ageMillisecondsMinimum) return false;
    this.#process.kill('objects that others made are looked for');
    return true;
  }

  /** Ends the child; calls that wait are refused. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cutDelay();
    this.#watch.stop();
    const child = this.#process;
    this.#process = undefined;
    const { begun, waiting } = child?.takeUnanswered() ?? { begun: [], waiting: [] };
    for (const call of [...begun, ...waiting, ...this.#queue.takeAll()]) call.reject(stopped());
    await child?.end();
  }

  #ask(
    submit: (call: Call) => void,
    command: CommandName,
    head: Buffer,
    items: readonly Uint8Array[],
    cost = firstCost(command),
  ): Promise<Answer> {
    const since = this.#options.clock.monotonic();
    return new Promise((resolve, reject) => {
      submit({ command, head, items, cost, since, resolve, reject, attempts: 0 });
    });
  }

  /** Waits until a child serves. Error: why none does. */
  #ready(): Promise<void> {
    if (this.#isStopped) return Promise.reject(stopped());
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#process !== undefined && this.#starting === undefined) return Promise.resolve();
    return this.#begin(0);
  }

  /** Starts a child after a while, and another after that for as long as none can be had. */
  #begin(delayMilliseconds: number): Promise<void> {
    if (this.#starting !== undefined) return this.#starting;
    const starting = this.#startAfter(delayMilliseconds).finally(() => {
      this.#starting = undefined;
      if (this.#isStopped) return;
      if (this.#failure === undefined) this.#pump();
      else this.#begin(this.#nextDelay());
    });
    // Callers are told by their own promises.
    starting.catch(() => undefined);
    this.#starting = starting;
    return starting;
  }

  async #startAfter(delayMilliseconds: number): Promise<void> {
    if (delayMilliseconds > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, delayMilliseconds);
        this.#cutDelay = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (!this.#isStopped) await this.#start();
  }

  #nextDelay(): number {
    const factor = 2 ** Math.min(Math.max(this.#failuresInRow - 1, 0), 10);
    return Math.min(restartMillisecondsMaximum, restartMillisecondsMinimum * factor);
  }

  async #start(): Promise<void> {
    const { log, clock, name } = this.#options;
    try {
      const answer = await this.#launch();
      this.#facts = answer.facts;
      this.#failure = undefined;
      this.#refusedPin = undefined;
      this.#starts++;
      this.#startedAt = clock.monotonic();
      const { label, model } = answer.facts;
      const sessions = answer.lanes.length;
      log.info({ keystore: name, token: label, model, sessions }, 'keystore is ready');
    } catch (error) {
      const child = this.#process;
      this.#process = undefined;
      child?.kill('it did not start');
      const failure = isKeyreeveError(error) ? error : this.#gone(String(error));
      this.#fail(failure, child?.output);
      throw failure;
    }
  }

  /** Starts a process, brings it the PIN and has it log in. */
  async #launch(): Promise<StartAnswer> {
    const { settings, clock, beforeStart, recallRefusedPin } = this.#options;
    // From now on callers wait: for so long, and not for a disk that hangs.
    this.#watch.start();
    // Paths without links: a link that was followed can lead elsewhere a moment later.
    const { modulePath, environment } = (await beforeStart?.()) ?? settings;
    const pinFile = settings.pinFile;
    const there = await recallRefusedPin?.().catch(() => undefined);
    if (this.#refusedPin === undefined && there !== undefined) this.#refusedBefore(there);
    const refused = this.#refusedPin;
    const pin = refused && pinFile && (await pinFileVersion(pinFile));
    if (pin !== undefined && refused?.version === pin) throw refused.error;
    const read = pinFile === undefined ? undefined : await readPin(pinFile);
    if (this.#isStopped) {
      read?.pin[Symbol.dispose]();
      throw stopped();
    }
    this.#pinVersion = read?.version;
    const child: ModuleProcess = new ModuleProcess({
      environment: childEnvironment(process.env, environment),
      lanes: settings.sessions,
      now: () => clock.monotonic(),
      answered: (call, frame) => this.#answered(child, call, frame),
      drained: () => this.#pump(),
      gone: (reason) => this.#childGone(child, reason),
    });
    this.#process = child;
    const request: StartRequest = {
      modulePath,
      token: settings.token,
      lanes: settings.sessions,
      hasPin: read !== undefined,
    };
    const items = read === undefined ? [] : [read.pin.reveal()];
    const head = Buffer.from(JSON.stringify(request));
    try {
      const answer = await this.#ask((call) => child.control.send(call), 'start', head, items);
      const started = JSON.parse(answer.head.toString('utf8')) as StartAnswer;
      child.open(started.lanes);
      return started;
    } finally {
      read?.pin[Symbol.dispose]();
    }
  }

  /** No child can be had now: all who wait are told, and it is tried again after a while. */
  #fail(failure: KeyreeveError, output: string | undefined): void {
    if (this.#isStopped) return;
    const { log, name } = this.#options;
    if (this.#failure?.message !== failure.message) {
      log.error({ keystore: name, error: failure, output }, 'keystore does not answer');
    }
    this.#failure = failure;
    this.#failuresInRow++;
    for (const call of this.#queue.takeAll()) call.reject(failure);
  }

  #pump(): void {
    const lanes = this.#process?.lanes ?? [];
    if (lanes.length > 0 && this.#starting === undefined) this.#queue.distribute(lanes);
  }

  #answered(child: ModuleProcess, call: Call, frame: Frame): void {
    if (frame.code === statusOk) {
      call.resolve({ head: frame.head, items: frame.items });
      return;
    }
    const fault = JSON.parse(frame.head.toString('utf8')) as Fault;
    const isGone = fault.kind === 'device' || fault.kind === 'session';
    if (!isGone || call.command === 'start') {
      const error = new TokenFaultError(this.#context, fault);
      call.reject(error);
      if (error.code === 'wrong-passphrase') this.#pinRefused(child, error);
      return;
    }
    // A new process sees the token as it is now; most modules look only once.
    call.attempts++;
    this.#again(call, () => new TokenFaultError(this.#context, fault));
    child.kill(`the token failed: ${fault.text}`);
  }

  /** A PIN that was refused is never tried again: tokens lock after a few. */
  #pinRefused(child: ModuleProcess, error: KeyreeveError): void {
    if (this.#pinVersion !== undefined) this.#refusedPin = { version: this.#pinVersion, error };
    child.kill('the PIN is refused');
  }

  #childGone(child: ModuleProcess, reason: string): void {
    const { begun, waiting } = child.takeUnanswered();
    const error = this.#gone(reason);
    for (const call of begun) call.attempts++;
    if (this.#process !== child || this.#starting !== undefined) {
      for (const call of [...begun, ...waiting]) call.reject(error);
      return;
    }
    this.#process = undefined;
    const { log, name, clock } = this.#options;
    log.warn({ keystore: name, reason, output: child.output }, 'keystore is started again');
    for (const call of [...begun, ...waiting].reverse()) this.#again(call, () => error);
    if (clock.monotonic() - this.#startedAt > stableMilliseconds) this.#failuresInRow = 0;
    // The first time at once; one that ends again and again is given time.
    const delay = this.#failuresInRow === 0 ? 0 : this.#nextDelay();
    this.#failuresInRow++;
    if (delay > patienceMilliseconds) {
      this.#failuresInRow--;
      this.#fail(error, child.output);
    }
    void this.#begin(delay);
  }

  /** Puts a call first in line again, or fails it where that might do harm. */
  #again(call: Call, error: () => KeyreeveError): void {
    const mayRepeat = commands[call.command].repeatable && call.attempts < attemptsMaximum;
    const isQueued = call.command !== 'probe' && call.command !== 'forget';
    if (!mayRepeat || !isQueued || this.#isStopped) call.reject(error());
    else this.#queue.pushFront(call);
  }

  /** Ends a child that hangs, and refuses callers that have waited long enough. */
  #look(now: number): void {
    const { limits } = this.#options;
    const child = this.#process;
    const lanes = child === undefined ? [] : [child.control, ...child.lanes];
    const command = this.#watch.hangingAmong(lanes, now);
    if (command !== undefined) child?.kill(`the module did not answer in time (${command})`);
    const overdue = this.#queue.takeOlder(now - limits.waitSeconds * 1000);
    for (const call of overdue) call.reject(this.#gone('it has too much to do'));
  }

  #gone(reason: string): KeyreeveError {
    return unavailable(
      `The keystore "${this.#context.keystore}" does not answer: ${reason}.`,
      'Try again; the service starts it again by itself.',
    );
  }
}

function stopped(): KeyreeveError {
  return new KeyreeveError('shutting-down', 'The keystore is stopped.');
}
