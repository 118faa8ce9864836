/** Asking a person before something that cannot be undone. */
import { createInterface, type Interface } from 'node:readline/promises';
import { KeyreeveError } from '../server/base/errors.ts';
import type { CliContext } from './context.ts';
import { printable } from './output.ts';

/** Has the person type the name. Without a terminal nobody can be asked, and it is refused. */
export async function confirmByName(
  context: CliContext,
  name: string,
  warning: string,
): Promise<void> {
  if (context.standardInput.isTTY !== true) {
    throw new KeyreeveError(
      'invalid-request',
      'this needs a yes, and there is no terminal to ask',
      {
        hint: 'Add --yes.',
      },
    );
  }
  const { standardInput: input, standardError: output } = context;
  const lines = createInterface({ input, output });
  try {
    output.write(`${printable(warning)}\n`);
    const answer = await ask(lines, `Type "${printable(name)}" to go on: `);
    if (answer === undefined) output.write('\n');
    if (answer?.trim() !== name) {
      throw new KeyreeveError('invalid-request', 'nothing was done: the name was not typed', {
        hint: 'Type the whole name, or leave it at that.',
      });
    }
  } finally {
    lines.close();
  }
}

/** The line typed, or undefined where the person left with Ctrl-C or Ctrl-D. */
async function ask(lines: Interface, question: string): Promise<string | undefined> {
  try {
    return await lines.question(question);
  } catch (error) {
    if (error instanceof Error && error.name === 'AbortError') return undefined;
    throw error;
  }
}
