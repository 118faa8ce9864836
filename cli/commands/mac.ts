import type { Command } from 'commander';
import { dataBytesMax } from '../../api/fields.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { parseKeyAndVersion, parseWhole } from '../arguments.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { readInput, refuseMixedOutput, refuseSharedInput, writeOutput } from '../files.ts';

export function addMacCommands(program: Command, state: RunState): void {
  program
    .command('mac')
    .description('make a message authentication code (HMAC)')
    .argument('<name[@version]>')
    .requiredOption('--in <file>', 'what it is for, or - for standard input')
    .option('--out <file>', 'its bytes, or - for standard output; printed as hex if left out')
    .option('--scheme <scheme>', 'one of the schemes of the key')
    .action(act(state, mac));
  program
    .command('verify-mac')
    .description('verify a message authentication code')
    .argument('<name[@version]>')
    .requiredOption('--in <file>', 'what it is for, or - for standard input')
    .requiredOption('--mac <file>', 'its bytes')
    .option('--scheme <scheme>', 'the scheme it was made with')
    .action(act(state, verifyMac));
  program
    .command('random')
    .description('random bytes of the service')
    .argument('<length>', 'how many bytes')
    .option('--out <file>', 'where to, or - for standard output; printed as hex if left out')
    .action(act(state, random));
}

interface MacOptions {
  readonly in: string;
  readonly out?: string;
  readonly scheme?: string;
}

const input = { bytesMax: dataBytesMax, tooLargeHint: 'Make the code of its SHA-256 instead.' };
const macBytesMax = 64;
const randomBytesMax = 65_536;

async function mac(tools: Tools, options: MacOptions, name: string): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  const data = await readInput(context, options.in, input);
  const made = await client.call('key.mac', {
    params: { key },
    body: { data: data.toString('base64'), scheme: options.scheme, version },
  });
  output.data(made);
  await writeBytes(tools, Buffer.from(made.mac, 'base64'), options.out, false);
}

async function verifyMac(
  tools: Tools,
  options: { in: string; mac: string; scheme?: string },
  name: string,
): Promise<ExitCode> {
  const { context, output } = tools;
  refuseSharedInput(options.in, options.mac);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  const data = await readInput(context, options.in, input);
  const code = await readInput(context, options.mac, { bytesMax: macBytesMax });
  const answer = await client.call('key.verify-mac', {
    params: { key },
    body: {
      data: data.toString('base64'),
      mac: code.toString('base64'),
      scheme: options.scheme,
      version,
    },
  });
  output.data(answer);
  output.print(answer.valid ? `valid: ${key}, version ${answer.version}` : 'not valid');
  return answer.valid ? exitCodes.ok : exitCodes.no;
}

async function random(tools: Tools, options: { out?: string }, lengthText: string): Promise<void> {
  refuseMixedOutput(options.out, tools.output.json);
  const length = parseWhole(lengthText, 'the length', 1, randomBytesMax);
  const answer = await tools.client().call('random.make', { body: { length } });
  tools.output.data(answer);
  await writeBytes(tools, Buffer.from(answer.items[0] ?? '', 'base64'), options.out, true);
}

async function writeBytes(
  tools: Tools,
  bytes: Buffer,
  path: string | undefined,
  isPrivate: boolean,
): Promise<void> {
  if (path === undefined) tools.output.print(bytes.toString('hex'));
  else await writeOutput(tools.context, path, bytes, { private: isPrivate, force: true });
}
