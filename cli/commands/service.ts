import type { Command } from 'commander';
import { KeyreeveError } from '../../server/base/errors.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { completionScript, isShell, shells } from '../completion.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { manualPage } from '../man.ts';
import { version } from '../version.ts';

export function addServiceCommands(program: Command, state: RunState): void {
  const config = program.command('config').description('the configuration of the service');
  config
    .command('check')
    .description('say what is wrong with it, all at once; changes nothing')
    .option('--config <file>', 'this file in place of KEYREEVE_CONFIG')
    .action(act(state, checkConfiguration));
  program.command('serve').description('run the service').action(act(state, serveHere));
  program
    .command('completion')
    .description('print completion for a shell')
    .argument('<shell>', shells.join(', '))
    .action(act(state, (tools, _options, shell) => printCompletion(tools, program, shell)));
  program
    .command('man')
    .description('print the manual page')
    .action(act(state, (tools) => printManual(tools, program)));
}

async function checkConfiguration(tools: Tools, options: { config?: string }): Promise<ExitCode> {
  const { checkConfig } = await import('../../server/config/config.ts');
  const report = checkConfig(
    tools.context.env,
    options.config === undefined ? {} : { configFile: options.config },
  );
  tools.output.data({ ok: report.ok, findings: report.findings });
  for (const { problem, hint } of report.findings) {
    tools.output.print(problem);
    if (hint !== undefined) tools.output.print(`  hint: ${hint}`);
  }
  if (!report.ok) return exitCodes.usage;
  const { file, data, listen, port } = report.config;
  tools.output.print(`ok: ${file ?? 'no file'}, data in ${data}, listens on ${listen}:${port}`);
  return exitCodes.ok;
}

async function serveHere(): Promise<ExitCode> {
  const { serve } = await import('../../server/main.ts');
  await serve();
  // It has said itself why it did not start, and that is how the command ends.
  return process.exitCode === undefined || process.exitCode === 0 ? exitCodes.ok : exitCodes.no;
}

async function printCompletion(tools: Tools, program: Command, shell: string): Promise<void> {
  if (!isShell(shell)) {
    throw new KeyreeveError('invalid-request', `there is no completion for "${shell}"`, {
      hint: `Choose one of: ${shells.join(', ')}.`,
    });
  }
  tools.context.standardOutput.write(completionScript(program, shell));
}

async function printManual(tools: Tools, program: Command): Promise<void> {
  tools.context.standardOutput.write(manualPage(program, version()));
}
