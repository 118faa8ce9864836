/** Where a CA that was run elsewhere has its files: as they are named, or as openssl lays them out. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { KeyreeveError } from '../../server/base/errors.ts';
import { exists } from '../../server/base/files.ts';
import type { CliContext } from '../context.ts';
import { readText } from '../files.ts';
import type { Output } from '../output.ts';

export interface SourceOptions {
  readonly opensslCa?: string;
  readonly key?: string;
  /** The key as its keystore calls it, in place of a file. */
  readonly object?: string;
  readonly objectId?: string;
  readonly certificate?: string;
  readonly index?: string;
  readonly certificates?: string[];
  readonly crlNumber?: string;
}

export interface TakeoverSources {
  /** Undefined where the key is adopted in its keystore. */
  readonly key: string | undefined;
  readonly certificate: string;
  readonly index: string | undefined;
  /** Files and folders. */
  readonly certificates: readonly string[];
  /** A file in openssl's form, or digits. */
  readonly crlNumber: string | undefined;
}

/** Names under the folder of an openssl CA, the likeliest first: openssl.cnf, usual guides, easy-rsa. */
const layout = {
  key: [
    'private/cakey.pem',
    'private/ca.key.pem',
    'private/ca.key',
    'private/intermediate.key.pem',
    'ca.key',
  ],
  certificate: [
    'cacert.pem',
    'certs/ca.crt',
    'certs/ca.cert.pem',
    'certs/cacert.pem',
    'certs/intermediate.cert.pem',
    'ca.crt',
  ],
  index: ['index.txt'],
  certificates: ['newcerts', 'certs_by_serial'],
  crlNumber: ['crlnumber'],
} as const;

/** What is named goes before what is found. Says what it found. Throws where key or certificate lack. */
export function findSources(output: Output, options: SourceOptions): TakeoverSources {
  const { opensslCa: folder } = options;
  const found = (kind: keyof typeof layout): string | undefined => {
    if (folder === undefined) return undefined;
    const path = layout[kind].map((name) => join(folder, name)).find(exists);
    if (path !== undefined) output.note(`found ${titles[kind]}: ${path}`);
    return path;
  };
  // A folder that is not there is said to be so, and not that it lacks a key.
  if (folder !== undefined) statSync(folder);
  const need = (kind: 'key' | 'certificate') => {
    const path = options[kind] ?? found(kind);
    if (path !== undefined) return path;
    const where = folder === undefined ? '' : `, and ${folder} holds none where openssl puts it`;
    throw new KeyreeveError('invalid-request', `--${kind} is not named${where}`, {
      hint: `Name ${titles[kind]} with --${kind} FILE.`,
    });
  };
  const isAdopted = options.object !== undefined || options.objectId !== undefined;
  const key = isAdopted ? options.key : need('key');
  const certificate = need('certificate');
  const index = options.index ?? found('index');
  const folderOfCertificates =
    options.certificates === undefined ? found('certificates') : undefined;
  return {
    key,
    certificate,
    index,
    certificates:
      options.certificates ?? (folderOfCertificates === undefined ? [] : [folderOfCertificates]),
    crlNumber: options.crlNumber ?? found('crlNumber'),
  };
}

const titles = {
  key: 'the private key',
  certificate: 'the certificate of the CA',
  index: 'the index',
  certificates: 'what it issued',
  crlNumber: 'the number of its next CRL',
} as const;

const crlNumberBytesMax = 100;
const digits = /^[0-9A-Fa-f]{1,40}$/;

/**
 * The number of the newest CRL, in hexadecimal. Digits are that number; a file is openssl's
 * `crlnumber`, which holds the one that comes next.
 */
export async function newestCrlNumber(
  context: CliContext,
  source: string | undefined,
): Promise<string | undefined> {
  if (source === undefined) return undefined;
  if (digits.test(source)) return source;
  const text = (await readText(context, source, crlNumberBytesMax)).trim();
  if (!digits.test(text)) {
    throw new KeyreeveError('invalid-request', `${source} holds no CRL number`, {
      hint: 'Name the file crlnumber of openssl, or the number of the newest CRL in hexadecimal.',
    });
  }
  const next = BigInt(`0x${text}`);
  // Zero as the next one: none was ever published.
  return next === 0n ? undefined : (next - 1n).toString(16);
}
