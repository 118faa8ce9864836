/** What a command touches of the world, so that tests can give it another one. */
import { homedir } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { type Clock, systemClock } from '../server/base/clock.ts';

export interface TerminalOutput extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly standardInput: Readable & { readonly isTTY?: boolean };
  readonly standardOutput: TerminalOutput;
  readonly standardError: TerminalOutput;
  readonly homeFolder: string;
  readonly clock: Clock;
}

/** The world of this process. */
export function processContext(): CliContext {
  return {
    env: process.env,
    standardInput: process.stdin,
    standardOutput: process.stdout,
    standardError: process.stderr,
    homeFolder: homedir(),
    clock: systemClock,
  };
}
