import { type ChildProcess, spawn } from 'node:child_process';
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Call } from './call.ts';
import type { Frame } from './frames.ts';
import { Lane, type LaneEvents } from './lane.ts';
import { controlDescriptor, firstLaneDescriptor } from './protocol.ts';

const outputKeptCharacters = 2000;
const endMilliseconds = 3000;

export interface ModuleProcessOptions {
  readonly environment: Readonly<Record<string, string>>;
  readonly lanes: number;
  readonly now: () => number;
  readonly answered: (call: Call, frame: Frame) => void;
  readonly drained: () => void;
  /** The process has ended, or has to: once. */
  readonly gone: (reason: string) => void;
}

/**
 * Where the service keeps its modules compiled: each thread of the child would compile its own again.
 * The variable names the folder above the one of this version of Node.
 */
function compiledModules(): Record<string, string> {
  const folder = getCompileCacheDir();
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}

/** One child process, with its control link and its lanes. */
export class ModuleProcess {
  readonly #child: ChildProcess;
  readonly #options: ModuleProcessOptions;
  readonly #exit: Promise<void>;
  readonly control: Lane;
  readonly #lanes: readonly Lane[];
  /** The lanes whose thread has a session: none before the start is answered. */
  lanes: readonly Lane[] = [];
  #output = '';
  #isGone = false;

  constructor(options: ModuleProcessOptions) {
    this.#options = options;
    const script = fileURLToPath(new URL('./child/child.ts', import.meta.url));
    const pipes = Array.from({ length: 1 + options.lanes }, () => 'pipe' as const);
    // No argument tells anything: command lines can be read by everybody on the host.
    this.#child = spawn(process.execPath, ['--disable-sigusr1', script], {
      cwd: '/',
      env: { ...compiledModules(), ...options.environment },
      stdio: ['ignore', 'ignore', 'pipe', ...pipes],
    });
    this.#exit = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#gone(`the process of the module ended (${signal ?? code})`);
        resolve();
      });
      this.#child.once('error', (error) => {
        this.#gone(`the process of the module could not be started: ${error.message}`);
        resolve();
      });
    });
    this.#readOutput(this.#child.stderr);
    this.control = this.#lane(controlDescriptor);
    this.#lanes = pipes.slice(1).map((_pipe, index) => this.#lane(firstLaneDescriptor + index));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** The last of what module and child wrote to standard error. */
  get output(): string {
    return this.#output;
  }

  /** Uses the lanes that the child has opened. */
  open(indexes: readonly number[]): void {
    this.lanes = indexes.flatMap((index) => this.#lanes[index] ?? []);
  }

  /** The calls that the child was at, and those that it had not begun. */
  takeUnanswered(): { readonly begun: Call[]; readonly waiting: Call[] } {
    const begun: Call[] = [];
    const waiting: Call[] = [];
    for (const lane of [this.control, ...this.#lanes]) {
      const [first, ...rest] = lane.takeUnanswered();
      if (first !== undefined) begun.push(first);
      waiting.push(...rest);
    }
    return { begun, waiting };
  }

  /** Ends it at once, also where it hangs or is stopped. */
  kill(reason: string): void {
    this.#child.kill('SIGKILL');
    this.#gone(reason);
  }

  /** Ends it in order: sessions are closed, and the module is finalized. */
  async end(): Promise<void> {
    this.#isGone = true;
    for (const lane of [...this.#lanes, this.control]) lane.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), endMilliseconds);
    await this.#exit;
    clearTimeout(timer);
    this.#close();
  }

  #gone(reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#child.kill('SIGKILL');
    this.#options.gone(reason);
    this.#close();
  }

  #close(): void {
    for (const lane of [...this.#lanes, this.control]) lane.destroy();
  }

  #lane(descriptor: number): Lane {
    const stream = this.#child.stdio[descriptor] as unknown as Duplex;
    const events: LaneEvents = {
      answered: (call, frame) => this.#options.answered(call, frame),
      drained: () => this.#options.drained(),
      broken: (reason) => this.#gone(`the link to the module broke: ${reason}`),
    };
    return new Lane(stream, events, this.#options.now);
  }

  #readOutput(stream: Readable | null): void {
    stream?.setEncoding('utf8');
    stream?.on('data', (text: string) => {
      this.#output = (this.#output + text).slice(-outputKeptCharacters);
    });
  }
}
