/** R: what the machine can do in bare cryptography, as `openssl speed` measures it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Primitive } from './primitives.ts';

const run = promisify(execFile);

async function openssl(parameters: readonly string[]): Promise<string> {
  try {
    return (await run('openssl', parameters)).stdout;
  } catch (error) {
    throw new Error('R is measured with the openssl program, and it does not run here', {
      cause: error,
    });
  }
}

/**
 * Operations a second of one process on each core at once. By the clock on the wall (`-elapsed`):
 * the calls it is compared with are measured so, and share the machine with the same neighbours.
 */
export async function opensslSpeed(
  primitive: Primitive,
  cores: number,
  seconds: number,
): Promise<number> {
  const stdout = await openssl([
    'speed',
    ...['-mr', '-elapsed', '-multi', String(cores), '-seconds', String(seconds)],
    ...primitive.openssl,
  ]);
  const figure = figureOf(stdout);
  return primitive.opensslBlockBytes === undefined ? figure : figure / primitive.opensslBlockBytes;
}

/** The first figure of the sums that `-mr` prints: signatures, or bytes, a second. */
export function figureOf(stdout: string): number {
  // Machine-readable sums begin with "+F"; the first figure after number, size and name is the one.
  const line = stdout.split('\n').find((text) => text.startsWith('+F'));
  const figures = (line?.trim().split(':') ?? []).slice(3).map(Number);
  const figure = figures.find((value) => value > 0);
  if (figure === undefined) throw new Error(`openssl speed answered nothing readable: ${stdout}`);
  return figure;
}

export async function opensslVersion(): Promise<string> {
  return (await openssl(['version'])).trim();
}
