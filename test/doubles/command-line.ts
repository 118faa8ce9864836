import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import type { CliContext, TerminalOutput } from '../../cli/context.ts';
import type { ExitCode } from '../../cli/exit-codes.ts';
import { runCli } from '../../cli/run.ts';
import { systemClock } from '../../server/base/clock.ts';

export interface TestCli {
  readonly folder: string;
  readonly env: Record<string, string>;
  /** Runs the command as a person or script would. */
  run(words: readonly string[], input?: string | Buffer): Promise<Ran>;
  context(input?: string | Buffer, options?: { terminal?: boolean }): CliContext & { seen(): Seen };
}

export interface Seen {
  readonly out: string;
  readonly outBytes: Buffer;
  readonly error: string;
}

export interface Ran extends Seen {
  readonly code: ExitCode;
}

/** A command line with a home of its own, which is removed with the test. */
export function testCli(t: TestContext): TestCli {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const env: Record<string, string> = { XDG_CONFIG_HOME: join(folder, 'config') };
  const context: TestCli['context'] = (input = '', options = {}) => {
    const [out, error] = [new PassThrough(), new PassThrough()];
    const [outPieces, errorPieces] = [gather(out), gather(error)];
    const terminal = options.terminal === true;
    return {
      env,
      standardInput: Object.assign(Readable.from([Buffer.from(input)]), { isTTY: terminal }),
      standardOutput: Object.assign(out, { isTTY: terminal, columns: 80 }) as TerminalOutput,
      standardError: Object.assign(error, { isTTY: terminal, columns: 80 }) as TerminalOutput,
      homeFolder: folder,
      clock: systemClock,
      seen: () => ({
        out: Buffer.concat(outPieces).toString('utf8'),
        outBytes: Buffer.concat(outPieces),
        error: Buffer.concat(errorPieces).toString('utf8'),
      }),
    };
  };
  return {
    folder,
    env,
    context,
    run: async (words, input) => {
      const world = context(input);
      const code = await runCli(words, world);
      await new Promise((resolve) => setImmediate(resolve));
      return { code, ...world.seen() };
    },
  };
}

function gather(stream: PassThrough): Buffer[] {
  const pieces: Buffer[] = [];
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  return pieces;
}
