import { isIP } from 'node:net';
import { z } from 'zod';
import { storageTables } from '../../api/storage-classes.ts';
import { splitDatabaseUrl } from '../base/database-url.ts';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export const tlsNamesMax = 50;
const pathLengthMax = 4096;
/** It stands in every certificate. */
const publicUrlLengthMax = 200;
const dnsLabel = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const dnsName = new RegExp(`^${dnsLabel}(?:\\.${dnsLabel})*$`, 'i');

/** What `KEYREEVE_SEAL` says of where the root key is. */
export type SealLocation =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'env'; readonly variable: string }
  | { readonly kind: 'credential'; readonly name: string }
  | { readonly kind: 'pkcs11'; readonly uri: string };

const path = z
  .string()
  .max(pathLengthMax, 'is too long for a path')
  .refine((text) => !text.includes('\0'), 'is not a path');

const seal = path.transform((text, context): SealLocation => {
  const [scheme, name = ''] = text.split(/:(.*)/s);
  if (scheme === 'env') {
    if (/^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(name)) return { kind: 'env', variable: name };
    context.addIssue('has no name of a variable after "env:"');
  } else if (scheme === 'credential') {
    if (/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(name)) return { kind: 'credential', name };
    context.addIssue('has no name of a credential after "credential:"');
  } else if (scheme?.toLowerCase() === 'pkcs11') {
    // Read in full where PKCS #11 is spoken, which is above this folder.
    if (!/[:;]object=[^;?]/.test(text)) {
      context.addIssue('has no label of a key in the token: add object=NAME');
    }
    return { kind: 'pkcs11', uri: text };
  }
  return { kind: 'path', path: text };
});

const port = z
  .string()
  .regex(/^\d{1,5}$/, 'is not a number')
  .transform(Number)
  .refine((number) => number <= 65_535, 'is above 65535');

const httpPort = z.union([z.literal('off'), port], 'is neither the number of a port nor "off"');

/**
 * The base of addresses in certificates. Who checks a certificate has no certificate to trust yet:
 * RFC 5280, section 8, warns of HTTPS there.
 */
const publicUrl = z
  .string()
  .max(publicUrlLengthMax, `is longer than ${publicUrlLengthMax} characters`)
  .transform((text, context) => {
    const url = URL.parse(text);
    const problem = url === null ? 'is not an address' : problemOfPublicUrl(url, text);
    if (problem === undefined) return url!.href.replace(/\/+$/, '');
    context.addIssue(`${problem}: it has the form http://pki.example.org or http://host/path`);
    return z.NEVER;
  });

function problemOfPublicUrl(url: URL, text: string): string | undefined {
  if (url.protocol !== 'http:') return 'does not begin with http://';
  if (url.username !== '' || url.password !== '') return 'has a user name or a password';
  if (/[?#]/.test(text)) return 'has a query or a fragment';
  if (!/^[!-~]+$/.test(text)) return 'has characters beside those of ASCII';
  // The address parser takes hosts that no name server knows.
  const isHost = url.hostname.startsWith('[') || dnsName.test(url.hostname);
  if (!isHost || url.port === '0') return 'names no host that could be reached';
  return undefined;
}

const databaseUrl = z
  .string()
  .refine(
    (text) => splitDatabaseUrl(text) !== undefined,
    'is not an address of the form postgresql://user@host/database',
  );

const keyId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'is not the name of a key: letters, digits, "._-"');

const tlsNames = z
  .string()
  .transform((text) => text.split(/[\s,]+/).filter((name) => name !== ''))
  .refine((names) => names.length <= tlsNamesMax, `has more than ${tlsNamesMax} names`)
  .refine(
    (names) =>
      names.every((name) => isIP(name) !== 0 || (name.length <= 253 && dnsName.test(name))),
    'holds something that is neither a DNS name nor an IP address',
  );

/** Where packages and vendors put PKCS #11 modules. */
export const pkcs11FoldersDefault = [
  '/usr/lib',
  '/usr/lib64',
  '/usr/local/lib',
  '/usr/local/lib64',
  '/opt',
] as const;

const moduleFolders = z
  .string()
  .transform((text) => text.split(':').filter((folder) => folder !== ''))
  .refine(
    (folders) => folders.length > 0 && folders.every((folder) => folder.startsWith('/')),
    'is not a list of absolute paths, separated by colons',
  );

/**
 * Every setting: how its text is read, its default and meaning as the manual shows them, and
 * whether the file may hold it. Names are those of environment variables and of the file alike.
 */
export const settings = {
  KEYREEVE_CONFIG: {
    schema: path,
    inFile: false,
    default: 'none',
    meaning: 'The configuration file.',
  },
  KEYREEVE_DATA: {
    schema: path,
    inFile: true,
    default: '`./data` from a clone, `/var/lib/keyreeve` when installed',
    meaning: 'The data folder.',
  },
  KEYREEVE_SEAL: {
    schema: seal,
    inFile: true,
    default: '`<data>.seal`; to be given in a container',
    meaning:
      'Where the root key is: a folder outside the data folder, `env:NAME` (an environment variable), `credential:NAME` (a credential of systemd, read from `$CREDENTIALS_DIRECTORY`), or a key in an HSM or TPM: `pkcs11:token=T;object=NAME?module-path=/...so&pin-source=file:/...` (RFC 7512).',
  },
  KEYREEVE_LISTEN: {
    schema: z.string().refine((text) => isIP(text) !== 0, 'is not an IP address'),
    inFile: true,
    default: '`127.0.0.1`',
    meaning: 'The IP address to listen on; `0.0.0.0` or `::` for every address.',
  },
  KEYREEVE_PORT: {
    schema: port,
    inFile: true,
    default: '`8443`',
    meaning: 'The HTTPS port; `0` takes any free one.',
  },
  KEYREEVE_HTTP_PORT: {
    schema: httpPort,
    inFile: true,
    default: '`8080`',
    meaning:
      'The port for plain HTTP: CRLs and certificates of CAs, nothing else. `0` takes any free one, `off` opens none.',
  },
  KEYREEVE_PKI_URL: {
    schema: publicUrl,
    inFile: true,
    default: 'none: certificates carry no addresses',
    meaning:
      'Where others reach that port, such as `http://pki.example.org`: the base of the addresses of CRLs and CA certificates in what is issued.',
  },
  KEYREEVE_TLS_NAMES: {
    schema: tlsNames,
    inFile: true,
    default: 'none',
    meaning:
      'More DNS names and IP addresses for the server certificate, separated by commas. `localhost`, the loopback addresses, the host name and the listen address are in it anyway.',
  },
  KEYREEVE_DATABASE_URL: {
    schema: databaseUrl,
    inFile: true,
    default: 'SQLite in the data folder',
    meaning:
      'A PostgreSQL database: `postgresql://user:password@host/database`. Of several servers (`...@db1,db2/...`) the one that is the primary is used.',
  },
  KEYREEVE_CHECKPOINTS: {
    schema: path,
    inFile: true,
    default: 'the folder of the root key, or `<data>.seal` where that is no folder',
    meaning:
      'The folder, outside the data folder, for checkpoints of the record and for tombstones.',
  },
  KEYREEVE_ARCHIVE: {
    schema: path,
    inFile: true,
    default: '`<data>/archive`',
    meaning: 'The folder that old fields of the record are moved to.',
  },
  KEYREEVE_LOG_LEVEL: {
    schema: z.enum(logLevels, `is not one of ${logLevels.join(', ')}`),
    inFile: true,
    default: '`info`',
    meaning: 'The least severe messages that are logged. `debug` has a line for each request.',
  },
  KEYREEVE_STORAGE_TABLE: {
    schema: z.enum(storageTables, `is not one of ${storageTables.join(', ')}`),
    inFile: true,
    default: '`default`',
    meaning:
      '`enforced`: every key that the storage table speaks of is held to it, named or not (see docs/storage.md).',
  },
  KEYREEVE_CONTAINER: {
    schema: z.enum(['0', '1'], 'is neither 0 nor 1'),
    inFile: false,
    default: '`0`',
    meaning: '`1` in a container image: `KEYREEVE_SEAL` has to be given.',
  },
  KEYREEVE_PKCS11_MODULES: {
    schema: moduleFolders,
    inFile: true,
    default: `\`${pkcs11FoldersDefault.join(':')}\``,
    meaning:
      'The folders, separated by colons, that PKCS #11 modules may be loaded from: a keystore can be added by command, and a module is code that the service runs.',
  },
  CRYPTO_KEYS_PATH: {
    schema: path,
    inFile: true,
    default: 'none: the keystore `file:` is off',
    meaning: 'The folder of the keystore `file:`, with its folders `private` and `public`.',
  },
  CRYPTO_CURRENT_KEY_ID: {
    schema: keyId,
    inFile: true,
    default: 'none',
    meaning:
      'The key in that folder that `certificates/signing` takes into use. A new name here is its next version; rotation by command moves on from it.',
  },
  CRYPTO_KEY_PASSPHRASE_FILE: {
    schema: path,
    inFile: true,
    default: 'none: the files are not encrypted',
    meaning:
      'A file, readable by its owner only, whose first line is the passphrase of those keys.',
  },
  CRYPTO_USE_KMS: {
    schema: z.enum(['true', 'false'], 'is neither true nor false'),
    inFile: true,
    default: '`false`',
    meaning: '`true` is refused: this version has no keystores in cloud services.',
  },
} as const satisfies Record<string, Setting>;

interface Setting {
  readonly schema: z.ZodType<unknown, string>;
  readonly inFile: boolean;
  readonly default: string;
  readonly meaning: string;
}

export type SettingName = keyof typeof settings;
export type SettingValues = {
  -readonly [Name in SettingName]?: z.output<(typeof settings)[Name]['schema']>;
};

export const settingNames = Object.keys(settings) as SettingName[];

/** Names that only the command line reads: known, and of no matter to the service. */
export const clientSettingNames = [
  'KEYREEVE_URL',
  'KEYREEVE_TOKEN',
  'KEYREEVE_CERT_FILE',
  'KEYREEVE_KEY_FILE',
  'KEYREEVE_CA_FILE',
] as const;

/** Names that other systems know and this one refuses, each with what to do instead. */
export const refusedSettings: Readonly<Record<string, string>> = {
  CRYPTO_KEY_PASSPHRASE:
    'Write the passphrase to a file of mode 0600 and name it in CRYPTO_KEY_PASSPHRASE_FILE.',
  CRYPTO_KMS_KEY_ID: 'Unset it: this version has no keystores in cloud services.',
  CRYPTO_KMS_REGION: 'Unset it: this version has no keystores in cloud services.',
};

/** The table of the manual, as Markdown. */
export function settingsTable(): string {
  const rows = settingNames.map(
    (name) => `| \`${name}\` | ${settings[name].default} | ${settings[name].meaning} |`,
  );
  return ['| name | default | meaning |', '|---|---|---|', ...rows].join('\n');
}
