import type { Command } from 'commander';
import type { ErrorCode } from '../../api/error-codes.ts';
import { dataBytesMax } from '../../api/fields.ts';
import type { ApiClient } from '../../client/api-client.ts';
import { decryptFile, encryptFile } from '../../client/encrypted-file.ts';
import { type FileHeader, startsAsEncryptedFile } from '../../client/file-format.ts';
import { isKeyreeveError, KeyreeveError } from '../../server/base/errors.ts';
import { SecretBytes } from '../../server/base/secret-bytes.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { parseKeyAndVersion } from '../arguments.ts';
import { readInput, refuseMixedOutput, refuseSharedInput, writeOutput } from '../files.ts';
import { startProgress } from '../progress.ts';
import { contextOf, contextOption } from '../raw-context.ts';

export function addEncryptionCommands(program: Command, state: RunState): void {
  contextOption(options(program.command('encrypt')), withRaw)
    .description('encrypt a file of any size')
    .option('--scheme <scheme>', 'with --raw: one of the schemes of the key')
    .option('--raw', 'small data, encrypted by the key itself: the bare ciphertext')
    .action(act(state, encrypt));
  contextOption(options(program.command('decrypt')), withRaw)
    .description('decrypt a file; the output appears only if all of it is genuine')
    .option('--scheme <scheme>', 'with --raw: the scheme it was made with')
    .option('--raw', 'a bare ciphertext')
    .action(act(state, decrypt));
  contextOption(options(program.command('re-encrypt')))
    .description(
      'bring a bare ciphertext to the newest version; the plaintext stays in the service',
    )
    .option('--scheme <scheme>', 'the scheme it was made with')
    .action(act(state, reEncrypt));
}

const withRaw = 'with --raw: ';

function options(command: Command): Command {
  return command
    .argument('<name[@version]>')
    .requiredOption('--in <file>', 'what to read, or - for standard input')
    .requiredOption('--out <file>', 'what to write, or - for standard output')
    .option('--force', 'replace an existing file');
}

interface FileOptions {
  readonly in: string;
  readonly out: string;
  readonly force?: boolean;
  readonly raw?: boolean;
  readonly scheme?: string;
  readonly context?: string;
}

async function encrypt(tools: Tools, options: FileOptions, name: string): Promise<void> {
  const { output } = tools;
  check(options, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  if (options.raw === true) return await encryptRaw(tools, client, options, key, version);
  let made: { keyId: string; version: number } | undefined;
  await withProgress(tools, 'encrypting', (onProgress) =>
    encryptFile({
      ...paths(tools, options),
      ...onProgress,
      obtainDataKey: async () => {
        const answer = await client.call('key.data-key', { params: { key }, body: { version } });
        made = { keyId: answer.keyId, version: answer.version };
        return {
          keyId: answer.keyId,
          keyVersion: answer.version,
          wrappedDataKey: Buffer.from(answer.ciphertext, 'base64'),
          dataKey: new SecretBytes(Buffer.from(answer.plaintext ?? '', 'base64')),
        };
      },
    }),
  );
  output.data(made);
  output.note(`encrypted with ${key}, version ${made?.version}`);
}

async function decrypt(tools: Tools, options: FileOptions, name: string): Promise<void> {
  const { output } = tools;
  check(options, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  if (options.raw === true) return await decryptRaw(tools, client, options, key, version);
  const header = await withProgress(tools, 'decrypting', (onProgress) =>
    decryptFile({
      ...paths(tools, options),
      ...onProgress,
      obtainDataKey: (found) => unwrapDataKey(client, key, version, found),
    }),
  );
  output.data({ keyId: header.keyId, version: header.keyVersion });
  output.note(`decrypted with ${key}, version ${header.keyVersion}`);
}

/** What the service says where the file may be for another key than the one named. */
const ofAnotherKey = new Set<ErrorCode>(['invalid-ciphertext', 'not-found', 'purpose-not-allowed']);

/** Asks the service to unwrap; where it refuses, says whether the file is for another key. */
async function unwrapDataKey(
  client: ApiClient,
  key: string,
  version: number | undefined,
  header: FileHeader,
): Promise<SecretBytes> {
  if (version !== undefined && version !== header.keyVersion) {
    throw new KeyreeveError(
      'invalid-request',
      `the file was encrypted with version ${header.keyVersion} of its key, not ${version}`,
      { hint: `Leave "@${version}" out: the file names its version.` },
    );
  }
  const { wrappedDataKey, keyVersion } = header;
  try {
    const answer = await client.call('key.decrypt', {
      params: { key },
      body: { ciphertext: wrappedDataKey.toString('base64'), version: keyVersion },
    });
    return new SecretBytes(Buffer.from(answer.plaintext, 'base64'));
  } catch (error) {
    if (!isKeyreeveError(error) || !ofAnotherKey.has(error.code)) throw error;
    const named = await client.call('key.show', { params: { key } }).catch(() => undefined);
    if (named === undefined || named.id === header.keyId) throw error;
    throw new KeyreeveError('invalid-ciphertext', `the file is not for the key ${named.name}`, {
      hint: `It was encrypted with the key ${header.keyId}: name that one.`,
      cause: error,
    });
  }
}

type Version = number | undefined;
const rawHint = 'Leave --raw out: files of any size are then encrypted with a data key.';

async function encryptRaw(
  tools: Tools,
  client: ApiClient,
  options: FileOptions,
  key: string,
  version: Version,
): Promise<void> {
  const { context, output } = tools;
  const plaintext = await readInput(context, options.in, {
    bytesMax: dataBytesMax,
    tooLargeHint: rawHint,
  });
  const aad = await contextOf(tools, options.context);
  const made = await client.call('key.encrypt', {
    params: { key },
    body: {
      plaintext: plaintext.toString('base64'),
      scheme: options.scheme,
      version,
      context: aad,
    },
  });
  plaintext.fill(0);
  const ciphertext = Buffer.from(made.ciphertext, 'base64');
  const force = options.force ?? false;
  await writeOutput(context, options.out, ciphertext, { private: true, force });
  output.data(made);
  output.note(`encrypted with ${key}, version ${made.version}, ${made.scheme}`);
}

async function decryptRaw(
  tools: Tools,
  client: ApiClient,
  options: FileOptions,
  key: string,
  version: Version,
): Promise<void> {
  const { context, output } = tools;
  const ciphertext = await readBareCiphertext(tools, options.in);
  const made = await client.call('key.decrypt', {
    params: { key },
    body: {
      ciphertext: ciphertext.toString('base64'),
      scheme: options.scheme,
      version,
      context: await contextOf(tools, options.context),
    },
  });
  using plaintext = new SecretBytes(Buffer.from(made.plaintext, 'base64'));
  const force = options.force ?? false;
  await writeOutput(context, options.out, plaintext.reveal(), { private: true, force });
  output.data({ keyId: made.keyId, version: made.version });
  output.note(`decrypted with ${key}, version ${made.version}`);
}

async function reEncrypt(tools: Tools, options: FileOptions, name: string): Promise<void> {
  const { context, output } = tools;
  check({ ...options, raw: true }, output.json);
  const { key, version } = parseKeyAndVersion(name);
  const client = tools.client();
  const ciphertext = await readBareCiphertext(tools, options.in);
  const made = await client.call('key.re-encrypt', {
    params: { key },
    body: {
      ciphertext: ciphertext.toString('base64'),
      scheme: options.scheme,
      version,
      context: await contextOf(tools, options.context),
    },
  });
  const force = options.force ?? false;
  const bytes = Buffer.from(made.ciphertext, 'base64');
  await writeOutput(context, options.out, bytes, { private: true, force });
  output.data(made);
  output.note(`encrypted anew with ${key}, version ${made.version}, ${made.scheme}`);
}

/** A ciphertext as `encrypt --raw` makes it; a whole encrypted file is told from one. */
async function readBareCiphertext(tools: Tools, path: string): Promise<Buffer> {
  const bytes = await readInput(tools.context, path, {
    bytesMax: dataBytesMax,
    tooLargeHint: wholeFileHint,
  });
  if (!startsAsEncryptedFile(bytes)) return bytes;
  throw new KeyreeveError('invalid-request', 'this is an encrypted file and no bare ciphertext', {
    hint: wholeFileHint,
  });
}

const wholeFileHint =
  'A file is decrypted without --raw, and brought to a newer version by decrypt and encrypt.';

function check(options: FileOptions, json: boolean): void {
  refuseMixedOutput(options.out, json);
  refuseSharedInput(options.in, options.context);
  if (options.raw === true) return;
  for (const name of ['scheme', 'context'] as const) {
    if (options[name] === undefined) continue;
    throw new KeyreeveError('invalid-request', `--${name} needs --raw`, {
      hint: 'Files have a format of their own: docs/file-format.md.',
    });
  }
}

function paths(tools: Tools, options: FileOptions) {
  const { standardInput, standardOutput } = tools.context;
  const force = options.force ?? false;
  return { inPath: options.in, outPath: options.out, force, standardInput, standardOutput };
}

async function withProgress<Result>(
  tools: Tools,
  title: string,
  work: (options: {
    onProgress?: (done: number, total: number | undefined) => void;
  }) => Promise<Result>,
): Promise<Result> {
  const bar = startProgress(tools.context, title);
  try {
    return await work(bar.onProgress === undefined ? {} : { onProgress: bar.onProgress });
  } finally {
    bar.end();
  }
}
