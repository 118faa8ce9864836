import { realpath } from 'node:fs/promises';
import { KeyreeveError } from '../base/errors.ts';
import { type CheckedModule, readSettings } from '../keystores/keystores.ts';
import { isInside, requireTrustedPath } from './trusted-path.ts';

/** What this installation allows of modules. */
export interface ModulePlaces {
  /** Folders that modules may be loaded from (`KEYREEVE_PKCS11_MODULES`). */
  readonly folders: readonly string[];
  /**
   * What the service itself writes and keeps: nothing in there says what is loaded, and nothing of
   * it goes into a module as a PIN.
   */
  readonly ownFolders: readonly string[];
}

/** What a variable may hold: some of them name files and programs that a module loads or runs. */
type VariableForm = 'path' | 'tcti' | 'bus' | 'word';

/** Variables that a keystore may set for its module. All others are refused, LD_PRELOAD first. */
export const moduleVariables = {
  SOFTHSM2_CONF: 'path',
  TPM2_PKCS11_STORE: 'path',
  TPM2_PKCS11_TCTI: 'tcti',
  TPM2_PKCS11_LOG_LEVEL: 'word',
  DBUS_SYSTEM_BUS_ADDRESS: 'bus',
  DBUS_SESSION_BUS_ADDRESS: 'bus',
  OPENSC_CONF: 'path',
  OPENSC_DRIVER: 'word',
  P11_KIT_SERVER_ADDRESS: 'bus',
  ChrystokiConfigurationPath: 'path',
  NFAST_HOME: 'path',
  NFAST_KMDATA: 'path',
  CS_PKCS11_R2_CFG: 'path',
  CS_PKCS11_R3_CFG: 'path',
  CLOUDHSM_PKCS11_CONFIG: 'path',
  YUBIHSM_PKCS11_CONF: 'path',
} as const satisfies Record<string, VariableForm>;

// Of the ways to a TPM those that run a program ("cmd:"), load a file or lead to another host are
// left out: a false TPM there would be told the PIN. So are "unixexec:" of D-Bus, and "abstract":
// such a name is taken by whoever on the host comes first.
const forms: Readonly<Record<Exclude<VariableForm, 'path'>, RegExp>> = {
  tcti: /^(?:tabrmd(?::bus_type=(?:system|session))?|device(?::\/dev\/[a-z0-9]+)?|(?:swtpm|mssim):(?:host=(?:127\.0\.0\.1|localhost),port=\d{1,5}|path=\/[A-Za-z0-9_./-]+))$/,
  bus: /^unix:path=\/[A-Za-z0-9_./-]+(?:,guid=[0-9a-f]+)?$/,
  word: /^[A-Za-z0-9_-]{1,60}$/,
};

/**
 * A module is code that the service runs: it comes from a folder of the list, and nobody but root
 * and the user of the service can change it. Asked whenever a module is about to be loaded: what is
 * loaded is the place that comes back, in which there are no links. Error: `invalid-request`.
 */
export async function requireModule(path: string, { folders }: ModulePlaces): Promise<string> {
  const real = await requireTrustedPath('The PKCS #11 module', path, 'file');
  const places = await Promise.all(folders.map((folder) => realpath(folder).catch(() => folder)));
  if (places.some((folder) => isInside(real, folder))) return real;
  throw new KeyreeveError(
    'invalid-request',
    `The PKCS #11 module ${path} is not in a folder that modules may be loaded from.`,
    {
      hint: `Whoever runs the host adds its folder to KEYREEVE_PKCS11_MODULES: ${folders.join(':')}`,
    },
  );
}

/**
 * All rules, for the URI of a token that a caller names, and variables beside it. What comes back is
 * what is to be loaded. Errors: `invalid-request`, `config-invalid`.
 */
export async function requireModuleOf(
  uri: string,
  places: ModulePlaces,
  variables: Readonly<Record<string, string>> = {},
): Promise<CheckedModule> {
  const settings = readSettings(uri);
  const modulePath = await requireModule(settings.modulePath, places);
  await requirePinFile(settings.pinFile, places);
  // The URI can set variables of its own.
  const all = { ...variables, ...settings.environment };
  return { modulePath, environment: await requireVariables(all, places) };
}

/**
 * Refuses variables that are not on the list, or that could have the module load something else or
 * speak to a stranger. What comes back has no links in its paths.
 */
export async function requireVariables(
  environment: Readonly<Record<string, string>>,
  places: ModulePlaces,
): Promise<Record<string, string>> {
  const checked: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    const form = Object.hasOwn(moduleVariables, name)
      ? moduleVariables[name as keyof typeof moduleVariables]
      : undefined;
    if (form === undefined) {
      throw new KeyreeveError('invalid-request', `A module is not given the variable ${name}.`, {
        hint: `Known are: ${Object.keys(moduleVariables).join(', ')}.`,
      });
    }
    if (form !== 'path') {
      if (forms[form].test(value)) {
        checked[name] = form === 'word' ? value : await withRealSocket(name, value);
        continue;
      }
      throw new KeyreeveError('invalid-request', `${name} has a value that is not taken.`, {
        hint: 'docs/keystores.md says which values the variables take.',
      });
    }
    const real = await requireTrustedPath(name, value, 'file or folder');
    await refuseOwn(name, real, places);
    checked[name] = real;
  }
  return checked;
}

/** Whoever listens at a socket is told the PIN: nobody else may be able to put one of his there. */
async function withRealSocket(name: string, value: string): Promise<string> {
  const path = /(?<=[:,]path=)[^,]+/.exec(value)?.[0];
  if (path === undefined) return value;
  const real = await requireTrustedPath(name, path, 'socket');
  return value.replace(`path=${path}`, () => `path=${real}`);
}

/** Refuses a PIN file that is something else of the service. Error: `invalid-request`. */
export async function requirePinFile(
  path: string | undefined,
  places: ModulePlaces,
): Promise<void> {
  if (path === undefined) return;
  // Whether it is there, and private, is asked when it is read.
  const real = await realpath(path).catch(() => path);
  await refuseOwn('pin-source', real, places);
}

async function refuseOwn(what: string, path: string, { ownFolders }: ModulePlaces): Promise<void> {
  for (const folder of ownFolders) {
    if (!isInside(path, await realpath(folder).catch(() => folder))) continue;
    throw new KeyreeveError(
      'invalid-request',
      `${what} names a place in a folder of the service.`,
      {
        hint: 'Keep what belongs to a module in a folder of its own.',
      },
    );
  }
}
