import { createPublicKey } from 'node:crypto';
import type { Command } from 'commander';
import { KeyreeveError } from '../../server/base/errors.ts';
import { SecretBytes } from '../../server/base/secret-bytes.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { parseKeyAndVersion, parseWhole } from '../arguments.ts';
import { readInput, refuseMixedOutput, writeOutput } from '../files.ts';
import { writePair } from '../secret-files.ts';

export function addAgreementCommands(program: Command, state: RunState): void {
  secretOutput(program.command('agree'))
    .description('agree on a shared secret with a public key (ECDH, then HKDF-SHA-256)')
    .requiredOption('--peer <file>', 'the public key of the other side, PEM or DER')
    .option('--info <text>', 'what the secret is for; both sides give the same')
    .option('--length <bytes>', 'length of the secret, 16 to 64', String(secretBytesDefault))
    .action(act(state, agree));
  secretOutput(program.command('encapsulate'))
    .description('make a shared secret and its encapsulation (ML-KEM)')
    .requiredOption('--out-ciphertext <file>', 'the encapsulation, or - for standard output')
    .action(act(state, encapsulate));
  secretOutput(program.command('decapsulate'))
    .description('get the shared secret out of an encapsulation (ML-KEM)')
    .requiredOption('--in <file>', 'the encapsulation, or - for standard input')
    .action(act(state, decapsulate));
}

function secretOutput(command: Command): Command {
  return command
    .argument('<name[@version]>')
    .requiredOption('--out <file>', 'the secret, or - for standard output')
    .option('--force', 'replace an existing file');
}

const secretBytesDefault = 32;
const secretBytesMin = 16;
const secretBytesMax = 64;
/** An RSA-4096 key as PEM has 800 bytes: no public key to agree with is as large. */
const publicKeyBytesMax = 16_384;
/** ML-KEM-1024 has the largest, 1,568 bytes. */
const encapsulationBytesMax = 16_384;

interface AgreeOptions {
  readonly peer: string;
  readonly out: string;
  readonly info?: string;
  readonly length: string;
  readonly force?: boolean;
}

async function agree(tools: Tools, options: AgreeOptions, name: string): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const length = parseWhole(options.length, '--length', secretBytesMin, secretBytesMax);
  const client = tools.client();
  const peer = await readPeer(tools, options.peer);
  const info =
    options.info === undefined ? undefined : Buffer.from(options.info, 'utf8').toString('base64');
  const made = await client.call('key.agree', {
    params: { key },
    body: { peer, info, length, version },
  });
  using secret = new SecretBytes(Buffer.from(made.secret, 'base64'));
  const force = options.force ?? false;
  await writeOutput(context, options.out, secret.reveal(), { private: true, force });
  output.data({ keyId: made.keyId, version: made.version });
  output.note(`agreed on ${length} bytes with ${key}, version ${made.version}`);
}

/** The SPKI of a public key file, DER in base64. */
async function readPeer(tools: Tools, path: string): Promise<string> {
  const bytes = await readInput(tools.context, path, {
    bytesMax: publicKeyBytesMax,
    tooLargeHint: 'Name a file with one public key.',
  });
  try {
    // From a private key node:crypto would take the public half: nobody means to give us one.
    if (bytes.includes('PRIVATE KEY')) throw new Error('a private key');
    const key = bytes.includes('-----BEGIN')
      ? createPublicKey(bytes)
      : createPublicKey({ key: bytes, format: 'der', type: 'spki' });
    return key.export({ format: 'der', type: 'spki' }).toString('base64');
  } catch (error) {
    throw new KeyreeveError('invalid-key-material', `${path} holds no public key`, {
      hint: 'Name a file with a public key (SPKI), such as "keyreeve key public" writes.',
      cause: error,
    });
  }
}

interface EncapsulateOptions {
  readonly out: string;
  readonly outCiphertext: string;
  readonly force?: boolean;
}

async function encapsulate(tools: Tools, options: EncapsulateOptions, name: string): Promise<void> {
  const { output } = tools;
  const { key, version } = parseKeyAndVersion(name);
  const force = options.force ?? false;
  const paths = { secret: options.out, public: options.outCiphertext };
  const { keyId, version: madeBy } = await writePair(tools, paths, force, async () => {
    const made = await tools
      .client()
      .call('key.encapsulate', { params: { key }, body: { version } });
    return {
      ...made,
      secret: new SecretBytes(Buffer.from(made.secret, 'base64')),
      public: Buffer.from(made.ciphertext, 'base64'),
    };
  });
  output.data({ keyId, version: madeBy });
  output.note(`encapsulated for ${key}, version ${madeBy}`);
}

interface DecapsulateOptions {
  readonly in: string;
  readonly out: string;
  readonly force?: boolean;
}

async function decapsulate(tools: Tools, options: DecapsulateOptions, name: string): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  const ciphertext = await readInput(context, options.in, { bytesMax: encapsulationBytesMax });
  const made = await client.call('key.decapsulate', {
    params: { key },
    body: { ciphertext: ciphertext.toString('base64'), version },
  });
  using secret = new SecretBytes(Buffer.from(made.secret, 'base64'));
  const force = options.force ?? false;
  await writeOutput(context, options.out, secret.reveal(), { private: true, force });
  output.data({ keyId: made.keyId, version: made.version });
  output.note(`decapsulated with ${key}, version ${made.version}`);
}
