import type { Command } from 'commander';
import { SecretBytes } from '../../server/base/secret-bytes.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { parseKeyAndVersion } from '../arguments.ts';
import { refuseMixedOutput, writeOutput } from '../files.ts';
import { contextOf, contextOption } from '../raw-context.ts';
import { writePair } from '../secret-files.ts';

export function addDataKeyCommands(program: Command, state: RunState): void {
  contextOption(program.command('data-key'))
    .description('make a 256-bit key for your own use, wrapped by the named key')
    .argument('<name[@version]>')
    .requiredOption('--out-wrapped <file>', 'the wrapped key, or - for standard output')
    .option('--out <file>', 'the key itself, or - for standard output; it stays away if left out')
    .option('--scheme <scheme>', 'one of the schemes of the key; its first, if left out')
    .option('--force', 'replace existing files')
    .addHelpText('after', '\nkeyreeve decrypt NAME --raw opens the wrapped key again.')
    .action(act(state, dataKey));
}

interface DataKeyOptions {
  readonly outWrapped: string;
  readonly out?: string;
  readonly scheme?: string;
  readonly context?: string;
  readonly force?: boolean;
}

async function dataKey(tools: Tools, options: DataKeyOptions, name: string): Promise<void> {
  const { output } = tools;
  const { key, version } = parseKeyAndVersion(name);
  const force = options.force ?? false;
  refuseMixedOutput(options.outWrapped, output.json);
  const client = tools.client();
  const context = await contextOf(tools, options.context);
  const ask = (withPlaintext: boolean) =>
    client.call('key.data-key', {
      params: { key },
      body: { version, scheme: options.scheme, context, withPlaintext },
    });
  const made =
    options.out === undefined
      ? await writeWrapped(tools, options.outWrapped, force, await ask(false))
      : await writePair(tools, { secret: options.out, public: options.outWrapped }, force, () =>
          ask(true).then((answer) => ({
            ...answer,
            secret: new SecretBytes(Buffer.from(answer.plaintext ?? '', 'base64')),
            public: Buffer.from(answer.ciphertext, 'base64'),
          })),
        );
  const { keyId, version: madeBy, scheme, ciphertext } = made;
  output.data({ keyId, version: madeBy, scheme, ciphertext });
  output.note(`made a data key, wrapped by ${key}, version ${madeBy}, ${scheme}`);
}

async function writeWrapped<Made extends { ciphertext: string }>(
  tools: Tools,
  path: string,
  force: boolean,
  made: Made,
): Promise<Made> {
  const wrapped = Buffer.from(made.ciphertext, 'base64');
  await writeOutput(tools.context, path, wrapped, { private: true, force });
  return made;
}
