import type { Command } from 'commander';
import type { MovedRootKey } from '../../server/recovery/recovery.ts';
import { act, type RunState, type Tools } from '../act.ts';

export function addRootKeyCommands(program: Command, state: RunState): void {
  const rootKey = program.command('root-key').description('the key above all others');
  rootKey
    .command('move')
    .description('wrap all under a root key at another place; on the host, service stopped')
    .argument('<to>', 'as in KEYREEVE_SEAL: a folder, env:NAME, credential:NAME, pkcs11:…')
    .option('--online', 'ask the running service to do it, without interruption')
    .action(act(state, move));
}

async function move(tools: Tools, options: { online?: boolean }, to: string): Promise<void> {
  const { output } = tools;
  const result = options.online === true ? await moveOnline(tools, to) : await moveHere(tools, to);
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

function moveOnline(tools: Tools, to: string): Promise<MovedRootKey> {
  return tools.client().call('root-key.move', { body: { to } });
}

async function moveHere({ context }: Tools, to: string): Promise<MovedRootKey> {
  const { loadConfig } = await import('../../server/config/config.ts');
  const { moveRootKey } = await import('../../server/recovery/recovery.ts');
  return moveRootKey({ config: loadConfig(context.env), to });
}
