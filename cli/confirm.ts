/** Asking a person before something that cannot be undone. */
import { createInterface } from 'node:readline/promises';
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
    const answer = await lines.question(`Type "${printable(name)}" to go on: `);
    if (answer.trim() !== name) {
      throw new KeyreeveError('invalid-request', 'nothing was done: the name was not typed');
    }
  } finally {
    lines.close();
  }
}
