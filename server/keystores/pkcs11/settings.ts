import { KeyreeveError } from '../../base/errors.ts';
import type { TokenSelector } from './protocol.ts';
import { type Pkcs11Uri, parsePkcs11Uri } from './uri.ts';

/** Vendor attributes of ours in the query of a keystore's URI (RFC 7512, 2.4). */
export const vendorAttributes = {
  /** Sessions, and so calls, at a time. */
  sessions: 'keyreeve-sessions',
  /** `NAME=VALUE` for the environment of the module; may come several times. */
  environment: 'keyreeve-environment',
} as const;

export const sessionsDefault = 4;
export const sessionsMaximum = 32;

/** What the URI of a keystore says. */
export interface Pkcs11Settings {
  readonly modulePath: string;
  readonly token: TokenSelector;
  /** The file whose first line is the PIN; undefined where the token asks for none. */
  readonly pinFile: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly sessions: number;
}

/** What a check of the module before its start found: what is loaded is what was looked at. */
export type CheckedModule = Pick<Pkcs11Settings, 'modulePath' | 'environment'>;

/**
 * Reads the URI of a keystore: which module (`module-path`), which token (its label, serial, ...),
 * where its PIN is (`pin-source=file:/...`). Error: `config-invalid`.
 */
export function readSettings(text: string): Pkcs11Settings {
  const uri = parsePkcs11Uri(text, 'config-invalid');
  for (const name of ['object', 'id', 'type'] as const) {
    if (uri.path[name] !== undefined) {
      throw invalid(`"${name}" names a key, and not a token.`, 'Leave it out.');
    }
  }
  for (const name of Object.keys(uri.path)) {
    if (
      name.startsWith('library-') ||
      name === 'slot-manufacturer' ||
      name === 'slot-description'
    ) {
      throw invalid(`"${name}" is not taken here.`, 'Name the token by its label or serial.');
    }
  }
  if (uri.vendorPath.length > 0) {
    throw invalid(`"${uri.vendorPath[0]?.name}" is not known.`, 'Correct or remove it.');
  }
  const { token, manufacturer, model, serial } = uri.path;
  const slotId = uri.path['slot-id'];
  if (token === undefined && serial === undefined && slotId === undefined) {
    throw invalid('It does not say which token.', 'Add the label of the token: token=NAME.');
  }
  return {
    modulePath: modulePathOf(uri),
    token: { token, manufacturer, model, serial, slotId },
    pinFile: pinFileOf(uri),
    ...vendorSettings(uri),
  };
}

function modulePathOf({ query }: Pkcs11Uri): string {
  const path = query['module-path'];
  if (query['module-name'] !== undefined) {
    throw invalid(
      '"module-name" depends on where a system looks.',
      'Give module-path=/... instead.',
    );
  }
  if (path === undefined) {
    throw invalid('It does not say which module.', 'Add ?module-path=/path/to/module.so.');
  }
  if (!path.startsWith('/')) {
    throw invalid('"module-path" is not an absolute path.', 'Begin it with a slash.');
  }
  return path;
}

function pinFileOf({ query }: Pkcs11Uri): string | undefined {
  if (query['pin-value'] !== undefined) {
    throw invalid(
      'It holds a PIN ("pin-value"), and addresses are shown and logged.',
      'Write the PIN to a file of mode 0600 and name that: pin-source=file:/path.',
    );
  }
  const source = query['pin-source'];
  if (source === undefined) return undefined;
  const path = /^file:(?:\/\/)?(\/[^/].*)$/.exec(source)?.[1];
  if (path !== undefined) return path;
  throw invalid('"pin-source" does not name a file.', 'Write it as pin-source=file:/path.');
}

function vendorSettings({ vendorQuery }: Pkcs11Uri) {
  const environment: Record<string, string> = {};
  let sessions: number | undefined;
  for (const { name, value } of vendorQuery) {
    if (name === vendorAttributes.environment) {
      const [, key, content] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(value) ?? [];
      if (key === undefined || content === undefined) {
        throw invalid(`"${name}" is not of the form NAME=VALUE.`, 'Correct it.');
      }
      if (Object.hasOwn(environment, key)) throw invalid(`${key} is set twice.`, 'Set it once.');
      environment[key] = content;
    } else if (name === vendorAttributes.sessions && sessions === undefined) {
      sessions = Number(value);
      if (!/^[0-9]{1,3}$/.test(value) || sessions < 1 || sessions > sessionsMaximum) {
        throw invalid(`"${name}" is a number from 1 to ${sessionsMaximum}.`, 'Correct it.');
      }
    } else {
      throw invalid(`"${name}" is not known here, or is there twice.`, 'Correct or remove it.');
    }
  }
  return { environment, sessions: sessions ?? sessionsDefault };
}

function invalid(reason: string, hint: string): KeyreeveError {
  return new KeyreeveError('config-invalid', `The URI of the keystore is not valid. ${reason}`, {
    hint,
  });
}
