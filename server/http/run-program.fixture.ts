import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * Runs a program without blocking this process, which serves it, and returns what it printed to
 * either output. `input` is text, or makes it piece by piece from what was printed so far.
 */
export async function runWithInput(
  program: string,
  words: readonly string[],
  input: string | ((seen: () => string) => AsyncGenerator<string>) = '',
): Promise<string> {
  const child = spawn(program, words, { stdio: 'pipe' });
  const pieces: Buffer[] = [];
  for (const output of [child.stdout, child.stderr]) {
    output.on('data', (piece: Buffer) => pieces.push(piece));
  }
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve());
  });
  const seen = () => Buffer.concat(pieces).toString('utf8');
  const source = Readable.from(typeof input === 'string' ? [input] : input(seen));
  // It may end before it has read everything.
  await pipeline(source, child.stdin).catch(() => undefined);
  await ended;
  return seen();
}
