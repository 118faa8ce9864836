import type { Command } from 'commander';
import { dataBytesMax } from '../../api/fields.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { parseKeyAndVersion } from '../arguments.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { readInput, refuseMixedOutput, refuseSharedInput, writeOutput } from '../files.ts';

export function addSignCommands(program: Command, state: RunState): void {
  program
    .command('sign')
    .description('sign a file of up to 1 MiB; larger ones through their list of hashes')
    .argument('<name[@version]>')
    .requiredOption('--in <file>', 'what to sign, or - for standard input')
    .requiredOption('--out <file>', 'the signature, or - for standard output')
    .option('--scheme <scheme>', 'one of the schemes of the key; its first, if left out')
    .action(act(state, sign));
  program
    .command('verify')
    .description('verify a signature: "valid", or "not valid" and exit code 1')
    .argument('<name[@version]>')
    .requiredOption('--in <file>', 'what was signed, or - for standard input')
    .requiredOption('--signature <file>', 'the signature')
    .option('--scheme <scheme>', 'the scheme it was made with')
    .action(act(state, verify));
}

/** Why the service does not sign more: docs/cli.md says it at length. */
export const largeFileHint =
  'Sign the list of its hashes instead: sha256sum FILE > FILE.sha256, then sign FILE.sha256.';

const signedFile = { bytesMax: dataBytesMax, tooLargeHint: largeFileHint } as const;
/** SLH-DSA has the largest signatures, 49,856 bytes. */
const signatureBytesMax = 65_536;

interface SignOptions {
  readonly in: string;
  readonly out: string;
  readonly scheme?: string;
}

async function sign(tools: Tools, options: SignOptions, name: string): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  const data = await readInput(context, options.in, signedFile);
  const made = await client.call('key.sign', {
    params: { key },
    body: { data: data.toString('base64'), scheme: options.scheme, version },
  });
  const signature = Buffer.from(made.signature, 'base64');
  await writeOutput(context, options.out, signature, { private: false, force: true });
  output.data(made);
  output.note(`signed with ${key}, version ${made.version}, ${made.scheme}`);
}

interface VerifyOptions {
  readonly in: string;
  readonly signature: string;
  readonly scheme?: string;
}

async function verify(tools: Tools, options: VerifyOptions, name: string): Promise<ExitCode> {
  const { context, output } = tools;
  refuseSharedInput(options.in, options.signature);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  const data = await readInput(context, options.in, signedFile);
  const signature = await readInput(context, options.signature, { bytesMax: signatureBytesMax });
  const answer = await client.call('key.verify', {
    params: { key },
    body: {
      data: data.toString('base64'),
      signature: signature.toString('base64'),
      scheme: options.scheme,
      version,
    },
  });
  output.data(answer);
  output.print(answer.valid ? `valid: ${key}, version ${answer.version}` : 'not valid');
  return answer.valid ? exitCodes.ok : exitCodes.no;
}
