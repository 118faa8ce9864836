/** The bytes that are authenticated together with a bare ciphertext. */
import type { Command } from 'commander';
import { dataBytesMax } from '../api/fields.ts';
import type { Tools } from './act.ts';
import { readInput } from './files.ts';

/** Adds `--context`. */
export function contextOption(command: Command, when = ''): Command {
  return command.option(
    '--context <file>',
    `${when}bytes to authenticate with it; opening it needs the same`,
  );
}

/** What `--context` names, in base64. */
export async function contextOf(
  tools: Tools,
  path: string | undefined,
): Promise<string | undefined> {
  if (path === undefined) return undefined;
  return (await readInput(tools.context, path, { bytesMax: dataBytesMax })).toString('base64');
}
