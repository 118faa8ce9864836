import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';
import type { StorageTable } from '../../api/storage-classes.ts';
import { KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { type ConfigFile, readConfigFile } from './config-file.ts';
import { type Finding, finding } from './finding.ts';
import { nearest } from './nearest.ts';
import {
  clientSettingNames,
  type LogLevel,
  pkcs11FoldersDefault,
  refusedSettings,
  type SettingName,
  type SettingValues,
  settingNames,
  settings,
} from './settings.ts';

export type { Finding } from './finding.ts';
export { type LogLevel, logLevels, settingsTable } from './settings.ts';

/** Where the root key comes from. */
export type Seal =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'env'; readonly variable: string }
  | { readonly kind: 'credential'; readonly name: string; readonly path: string }
  /** A key in a token: `pkcs11:token=T;object=NAME?...`. */
  | { readonly kind: 'pkcs11'; readonly uri: string };

/** The keystore `file:`. */
export interface FileKeystoreConfig {
  readonly folder: string;
  readonly currentKeyId: string | undefined;
  readonly passphraseFile: string | undefined;
}

/** The configuration in force; every path is absolute. */
export interface Config {
  /** The file it came from, where there is one. */
  readonly file: string | undefined;
  readonly data: string;
  readonly seal: Seal;
  readonly listen: string;
  readonly port: number;
  /** For plain HTTP; undefined where it is off. */
  readonly httpPort: number | undefined;
  /** Base of the addresses in certificates, without a slash at its end. */
  readonly pkiUrl: string | undefined;
  readonly tlsNames: readonly string[];
  /** It can hold a password. */
  readonly databaseUrl: SecretBytes | undefined;
  readonly checkpoints: string;
  readonly archive: string;
  readonly logLevel: LogLevel;
  readonly container: boolean;
  readonly storageTable: StorageTable;
  readonly fileKeystore: FileKeystoreConfig | undefined;
  /** Folders that PKCS #11 modules may be loaded from. */
  readonly pkcs11Modules: readonly string[];
}

export interface ConfigOptions {
  /** Takes the place of `KEYREEVE_CONFIG`. */
  readonly configFile?: string;
  /** What relative paths of the environment start from; the working folder where left out. */
  readonly workingFolder?: string;
  /** The folder of the package, which tells a clone from an installation. */
  readonly packageFolder?: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

export type ConfigReport =
  | { readonly ok: true; readonly config: Config; readonly findings: readonly [] }
  | { readonly ok: false; readonly findings: readonly Finding[] };

export const installedDataFolder = '/var/lib/keyreeve';
/** A name further than this from every known one is somebody else's. */
const typingErrorsMax = 3;

/**
 * The configuration from the environment and the file that it names; the environment wins. An
 * empty variable counts as unset. Throws `config-invalid`, which names everything that is wrong.
 */
export function loadConfig(environment: Environment, options: ConfigOptions = {}): Config {
  const report = checkConfig(environment, options);
  if (report.ok) return report.config;
  const [first] = report.findings;
  const hint = report.findings.length === 1 ? first!.hint : 'See "keyreeve config check".';
  throw new KeyreeveError(
    'config-invalid',
    report.findings.map((one) => one.problem).join(' '),
    hint === undefined ? {} : { hint },
  );
}

/** As `loadConfig`, with all findings at once in place of an error. */
export function checkConfig(environment: Environment, options: ConfigOptions = {}): ConfigReport {
  const workingFolder = options.workingFolder ?? process.cwd();
  const named = options.configFile ?? environment.KEYREEVE_CONFIG;
  const filePath = named === undefined || named === '' ? undefined : resolve(workingFolder, named);
  const file: ConfigFile =
    filePath === undefined ? { values: new Map(), findings: [] } : readConfigFile(filePath);
  const sources: Source[] = [
    { folder: workingFolder, values: environmentValues(environment), what: 'the environment' },
    { folder: dirname(filePath ?? workingFolder), values: file.values, what: filePath ?? '' },
  ];
  const findings: Finding[] = [
    ...file.findings,
    ...unknownInEnvironment(environment, sources),
    ...unknownInFile(file.values, filePath ?? ''),
  ];
  const { values, folders } = readSettings(sources, findings);
  const config = assemble(values, folders, filePath, environment, options, findings);
  return findings.length === 0 ? { ok: true, config, findings: [] } : { ok: false, findings };
}

interface Source {
  readonly folder: string;
  readonly values: ReadonlyMap<string, string>;
  readonly what: string;
}

type Folders = Partial<Record<SettingName, string>>;

function environmentValues(environment: Environment): Map<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && value !== '') values.set(name, value);
  }
  return values;
}

function readSettings(
  sources: readonly Source[],
  findings: Finding[],
): { values: SettingValues; folders: Folders } {
  const values: Record<string, unknown> = {};
  const folders: Folders = {};
  for (const name of settingNames) {
    const source = sources.find((one) => one.values.has(name));
    if (source === undefined) continue;
    const result = settings[name].schema.safeParse(source.values.get(name));
    folders[name] = source.folder;
    if (result.success) values[name] = result.data;
    else {
      // The value itself is left out: it can be a password in the wrong place.
      const problem = result.error.issues[0]?.message ?? 'is not valid';
      findings.push(finding(name, `${name} (from ${source.what}) ${problem}.`));
    }
  }
  return { values: values as SettingValues, folders };
}

function unknownInEnvironment(environment: Environment, sources: readonly Source[]): Finding[] {
  const seal = sources
    .map((one) => one.values.get('KEYREEVE_SEAL'))
    .find((one) => one !== undefined);
  const known = [...settingNames, ...clientSettingNames];
  const findings: Finding[] = [];
  for (const name of Object.keys(environment)) {
    // An empty one is unset; tests of the product have names of their own.
    if ((environment[name] ?? '') === '' || name.startsWith('KEYREEVE_TEST_')) continue;
    if ((known as readonly string[]).includes(name) || seal === `env:${name}`) continue;
    const instead = refusedSettings[name];
    const near = nearest(name, known, typingErrorsMax);
    if (instead !== undefined) findings.push(finding(name, `${name} is not supported.`, instead));
    else if (name.startsWith('KEYREEVE_') || (name.startsWith('CRYPTO_') && near !== undefined)) {
      findings.push(unknown(name, 'the environment', near));
    }
  }
  return findings;
}

function unknownInFile(values: ReadonlyMap<string, string>, path: string): Finding[] {
  const known: readonly string[] = settingNames.filter((name) => settings[name].inFile);
  const findings: Finding[] = [];
  for (const name of values.keys()) {
    if (known.includes(name)) continue;
    const instead = refusedSettings[name];
    if (instead !== undefined) findings.push(finding(name, `${name} is not supported.`, instead));
    else if (([...settingNames, ...clientSettingNames] as readonly string[]).includes(name)) {
      const hint = 'Set it as an environment variable.';
      findings.push(finding(name, `${name} cannot be set in ${path}.`, hint));
    } else findings.push(unknown(name, path, nearest(name.toUpperCase(), known, name.length)));
  }
  return findings;
}

function unknown(name: string, where: string, near: string | undefined): Finding {
  const hint = near === undefined ? undefined : `Did you mean ${near}?`;
  return finding(name, `${name} (from ${where}) is not a setting.`, hint);
}

function assemble(
  values: SettingValues,
  folders: Folders,
  file: string | undefined,
  environment: Environment,
  options: ConfigOptions,
  findings: Finding[],
): Config {
  const at = (name: SettingName, path: string) => resolve(folders[name] ?? '/', path);
  const optional = (name: SettingName, path: string | undefined) =>
    path === undefined ? undefined : at(name, path);
  const data =
    optional('KEYREEVE_DATA', values.KEYREEVE_DATA) ??
    defaultDataFolder(options.packageFolder ?? findPackageFolder());
  const seal = assembleSeal(values, data, at, environment, findings);
  const ports = assemblePorts(values, findings);
  const besideData = `${data}.seal`;
  const checkpoints =
    optional('KEYREEVE_CHECKPOINTS', values.KEYREEVE_CHECKPOINTS) ??
    (seal.kind === 'path' ? seal.path : besideData);
  if (seal.kind === 'path') refuseInside('KEYREEVE_SEAL', seal.path, data, findings);
  refuseInside('KEYREEVE_CHECKPOINTS', checkpoints, data, findings);
  return {
    file,
    data,
    seal,
    listen: values.KEYREEVE_LISTEN ?? '127.0.0.1',
    ...ports,
    pkiUrl: values.KEYREEVE_PKI_URL,
    tlsNames: values.KEYREEVE_TLS_NAMES ?? [],
    databaseUrl:
      values.KEYREEVE_DATABASE_URL === undefined
        ? undefined
        : new SecretBytes(Buffer.from(values.KEYREEVE_DATABASE_URL)),
    checkpoints,
    archive: optional('KEYREEVE_ARCHIVE', values.KEYREEVE_ARCHIVE) ?? join(data, 'archive'),
    logLevel: values.KEYREEVE_LOG_LEVEL ?? 'info',
    container: values.KEYREEVE_CONTAINER === '1',
    storageTable: values.KEYREEVE_STORAGE_TABLE ?? 'default',
    fileKeystore: assembleFileKeystore(values, optional, findings),
    pkcs11Modules: values.KEYREEVE_PKCS11_MODULES ?? pkcs11FoldersDefault,
  };
}

function assemblePorts(values: SettingValues, findings: Finding[]) {
  const port = values.KEYREEVE_PORT ?? 8443;
  const http = values.KEYREEVE_HTTP_PORT ?? 8080;
  if (port === http && port !== 0) {
    findings.push(
      finding(
        'KEYREEVE_HTTP_PORT',
        `KEYREEVE_PORT and KEYREEVE_HTTP_PORT are both ${port}.`,
        'Give plain HTTP a port of its own, or set KEYREEVE_HTTP_PORT to off.',
      ),
    );
  }
  return { port, httpPort: http === 'off' ? undefined : http };
}

function assembleSeal(
  values: SettingValues,
  data: string,
  at: (name: SettingName, path: string) => string,
  environment: Environment,
  findings: Finding[],
): Seal {
  const location = values.KEYREEVE_SEAL;
  if (location === undefined) {
    if (values.KEYREEVE_CONTAINER === '1') {
      findings.push(
        finding(
          'KEYREEVE_SEAL',
          'KEYREEVE_SEAL is not set, and what a container writes beside its data is lost with it.',
          'Mount a second volume and name a folder on it, or use env:NAME.',
        ),
      );
    }
    return { kind: 'path', path: `${data}.seal` };
  }
  if (location.kind === 'path') return { kind: 'path', path: at('KEYREEVE_SEAL', location.path) };
  if (location.kind === 'pkcs11') return location;
  if (location.kind === 'env') {
    if ((environment[location.variable] ?? '') === '') {
      const problem = `KEYREEVE_SEAL names the variable ${location.variable}, which is not set.`;
      findings.push(finding('KEYREEVE_SEAL', problem));
    }
    return location;
  }
  const folder = environment.CREDENTIALS_DIRECTORY ?? '';
  if (!isAbsolute(folder)) {
    findings.push(
      finding(
        'KEYREEVE_SEAL',
        'KEYREEVE_SEAL names a credential, and CREDENTIALS_DIRECTORY is not set.',
        `Add LoadCredential=${location.name}:… to the unit of the service.`,
      ),
    );
  }
  return { ...location, path: join(folder, location.name) };
}

function assembleFileKeystore(
  values: SettingValues,
  optional: (name: SettingName, path: string | undefined) => string | undefined,
  findings: Finding[],
): FileKeystoreConfig | undefined {
  if (values.CRYPTO_USE_KMS === 'true') {
    findings.push(
      finding(
        'CRYPTO_USE_KMS',
        'CRYPTO_USE_KMS is true, and keystores in cloud services are not in this version.',
        'Set it to false; keys are then held in the database under the root key.',
      ),
    );
  }
  const folder = optional('CRYPTO_KEYS_PATH', values.CRYPTO_KEYS_PATH);
  if (folder === undefined) {
    for (const name of ['CRYPTO_CURRENT_KEY_ID', 'CRYPTO_KEY_PASSPHRASE_FILE'] as const) {
      if (values[name] === undefined) continue;
      const problem = `${name} is set, and CRYPTO_KEYS_PATH, the folder it is about, is not.`;
      findings.push(finding(name, problem, `Set CRYPTO_KEYS_PATH, or unset ${name}.`));
    }
    return undefined;
  }
  return {
    folder,
    currentKeyId: values.CRYPTO_CURRENT_KEY_ID,
    passphraseFile: optional('CRYPTO_KEY_PASSPHRASE_FILE', values.CRYPTO_KEY_PASSPHRASE_FILE),
  };
}

/** What opens or proves the data must not be copied away together with it. */
function refuseInside(name: SettingName, path: string, data: string, findings: Finding[]): void {
  if (path !== data && !path.startsWith(data.endsWith(sep) ? data : data + sep)) return;
  findings.push(
    finding(
      name,
      `${name} (${path}) is in the data folder ${data}.`,
      `Take a folder like ${data}.seal.`,
    ),
  );
}

/** A clone keeps its data at hand; an installed package must not write into its own folder. */
function defaultDataFolder(packageFolder: string): string {
  const fromClone = ['.git', 'tools'].some((name) => existsSync(join(packageFolder, name)));
  return fromClone ? join(packageFolder, 'data') : installedDataFolder;
}

function findPackageFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) {
    folder = dirname(folder);
  }
  return folder;
}
