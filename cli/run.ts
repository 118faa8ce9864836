/** One run of the command `keyreeve`. */
import { CommanderError } from 'commander';
import type { RunState } from './act.ts';
import type { CliContext } from './context.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { buildProgram } from './program.ts';
import { renderError, writeError } from './render-error.ts';

/** Runs the command of these words and returns the code to end with. Writes errors itself. */
export async function runCli(words: readonly string[], context: CliContext): Promise<ExitCode> {
  const state: RunState = { context, exitCode: exitCodes.ok };
  const program = buildProgram(state);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return state.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return endOfParsing(context, error);
    return renderError(context, error, words.includes('--json'));
  }
}

/** Help and version come as an error of commander's too, with the code 0. */
function endOfParsing(context: CliContext, error: CommanderError): ExitCode {
  if (error.exitCode === 0) return exitCodes.ok;
  if (error.code !== 'commander.help') {
    const [message = ''] = error.message.replace(/^error: /, '').split('\n');
    const suggestion = /\(Did you mean (.*)\?\)/.exec(error.message);
    writeError(
      context,
      message,
      suggestion === null ? 'See: keyreeve help' : `Did you mean ${suggestion[1]}?`,
    );
  }
  return exitCodes.usage;
}
