import type { Purpose } from '../../api/purposes.ts';
import type { KeyView } from '../../api/routes/keys.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { parseLabels } from '../arguments.ts';
import { readInput, readPassphrase, refuseSharedInput } from '../files.ts';
import { type PolicyOptions, policyFromOptions } from './policy.ts';

export interface MakeOptions extends PolicyOptions {
  readonly algorithm: string;
  readonly purpose: string;
  readonly scheme?: string[];
  readonly keystore?: string;
  readonly label?: string[];
  readonly owner?: string;
}

export interface ImportOptions extends MakeOptions {
  readonly in: string;
  readonly passphraseFile?: string;
  readonly wrapped?: boolean;
  readonly wrappingKey?: string;
  readonly wrappingScheme?: string;
}

export interface AdoptOptions extends Omit<MakeOptions, 'algorithm' | 'keystore'> {
  readonly keystore: string;
  readonly object?: string;
  readonly objectId?: string;
}

/** Key files are small: 200,000 letters of base64. */
const materialBytesMax = 150_000;

export async function createKey(tools: Tools, options: MakeOptions, name: string): Promise<void> {
  const key = await tools.client().call('key.create', { body: making(name, options) });
  report(tools, 'made', key);
}

export async function importKey(tools: Tools, options: ImportOptions, name: string): Promise<void> {
  const { context } = tools;
  if (options.wrapped !== true && (options.wrappingKey ?? options.wrappingScheme) !== undefined) {
    throw new KeyreeveError(
      'invalid-request',
      '--wrapping-key and --wrapping-scheme need --wrapped',
      { hint: 'Add --wrapped, or leave them out.' },
    );
  }
  if (options.wrapped === true && options.wrappingKey === undefined) {
    throw new KeyreeveError('invalid-request', '--wrapped needs --wrapping-key', {
      hint: 'Name the key of purpose wrap that the file was wrapped for.',
    });
  }
  refuseSharedInput(options.in, options.passphraseFile);
  const client = tools.client();
  const bytes = await readInput(context, options.in, {
    bytesMax: materialBytesMax,
    tooLargeHint: 'Name a file with one key.',
  });
  const material = bytes.toString('base64');
  bytes.fill(0);
  using passphrase =
    options.passphraseFile === undefined
      ? undefined
      : await readPassphrase(context, options.passphraseFile);
  const key = await client.call('key.import', {
    body: {
      ...making(name, options),
      ...(options.wrapped === true
        ? {
            wrapped: material,
            wrappingKey: options.wrappingKey,
            wrappingScheme: options.wrappingScheme,
          }
        : { material }),
      ...(passphrase === undefined ? {} : { passphrase: passphrase.reveal().toString('utf8') }),
    },
  });
  report(tools, 'took in', key);
}

export async function adoptKey(tools: Tools, options: AdoptOptions, name: string): Promise<void> {
  const { algorithm: _, ...wanted } = making(name, { ...options, algorithm: '' });
  const key = await tools.client().call('key.adopt', {
    body: {
      ...wanted,
      keystore: options.keystore,
      object: options.object,
      objectId: options.objectId,
    },
  });
  report(tools, 'adopted', key);
}

function making(name: string, options: MakeOptions) {
  return {
    name,
    algorithm: options.algorithm,
    purpose: options.purpose as Purpose,
    schemes: options.scheme,
    keystore: options.keystore,
    owner: options.owner,
    labels: parseLabels(options.label ?? []),
    policy: policyFromOptions(options),
  };
}

function report(tools: Tools, what: string, key: KeyView): void {
  tools.output.data(key);
  const schemes = key.schemes.join(', ');
  tools.output.note(
    `${what} ${key.name} (${key.id}): ${key.algorithm} to ${key.purpose}, ${schemes}`,
  );
}
