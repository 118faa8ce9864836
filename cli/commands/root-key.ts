import type { Command } from 'commander';
import { act, type RunState, type Tools } from '../act.ts';

export function addRootKeyCommands(program: Command, state: RunState): void {
  const rootKey = program.command('root-key').description('the key above all others');
  rootKey
    .command('move')
    .description('wrap all under a root key at another place; on the host, service stopped')
    .argument('<to>', 'as in KEYREEVE_SEAL: a folder, env:NAME or credential:NAME')
    .action(act(state, move));
}

async function move(tools: Tools, _options: unknown, to: string): Promise<void> {
  const { output, context } = tools;
  const { loadConfig } = await import('../../server/config/config.ts');
  const { moveRootKey } = await import('../../server/recovery/recovery.ts');
  const result = await moveRootKey({ config: loadConfig(context.env), to });
  output.data(result);
  output.note(
    result.moved
      ? `the root key is ${result.fingerprint} at ${result.to} from now on`
      : `nothing to do: the root key in force is at ${result.to}`,
  );
  output.note('before the next start set:');
  for (const [name, value] of Object.entries(result.settings)) output.print(`${name}=${value}`);
  output.note(result.advice);
}
