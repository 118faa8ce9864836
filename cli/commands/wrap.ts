import type { Command } from 'commander';
import { dataBytesMax } from '../../api/fields.ts';
import { SecretBytes } from '../../server/base/secret-bytes.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { parseKeyAndVersion } from '../arguments.ts';
import { readInput, refuseMixedOutput, writeOutput } from '../files.ts';

export function addWrapCommands(program: Command, state: RunState): void {
  options(program.command('wrap'))
    .description('wrap a key that you hold: only the named key opens it again')
    .option('--scheme <scheme>', 'one of the schemes of the key; its first, if left out')
    .action(act(state, wrap));
  options(program.command('unwrap'))
    .description('unwrap a key that was wrapped for the named one')
    .option('--scheme <scheme>', 'the scheme it was wrapped with')
    .action(act(state, unwrap));
}

function options(command: Command): Command {
  return command
    .argument('<name[@version]>')
    .requiredOption('--in <file>', 'what to read, or - for standard input')
    .requiredOption('--out <file>', 'what to write, or - for standard output')
    .option('--force', 'replace an existing file');
}

interface WrapOptions {
  readonly in: string;
  readonly out: string;
  readonly force?: boolean;
  readonly scheme?: string;
}

const input = { bytesMax: dataBytesMax, tooLargeHint: 'Name a file with one key.' } as const;

async function wrap(tools: Tools, options: WrapOptions, name: string): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  using material = new SecretBytes(await readInput(context, options.in, input));
  const made = await client.call('key.wrap', {
    params: { key },
    body: { material: material.reveal().toString('base64'), scheme: options.scheme, version },
  });
  const wrapped = Buffer.from(made.wrapped, 'base64');
  const force = options.force ?? false;
  await writeOutput(context, options.out, wrapped, { private: true, force });
  output.data(made);
  output.note(`wrapped with ${key}, version ${made.version}, ${made.scheme}`);
}

async function unwrap(tools: Tools, options: WrapOptions, name: string): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  const wrapped = await readInput(context, options.in, input);
  const made = await client.call('key.unwrap', {
    params: { key },
    body: { wrapped: wrapped.toString('base64'), scheme: options.scheme, version },
  });
  using material = new SecretBytes(Buffer.from(made.material, 'base64'));
  const force = options.force ?? false;
  await writeOutput(context, options.out, material.reveal(), { private: true, force });
  output.data({ keyId: made.keyId, version: made.version });
  output.note(`unwrapped with ${key}, version ${made.version}`);
}
