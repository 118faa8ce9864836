import { KeyreeveError } from '../base/errors.ts';
import { formatPkcs11Uri, parsePkcs11Uri, readSettings } from './pkcs11/pkcs11.ts';
import type { TokenPlace } from './root-key-kinds.ts';

/** The place, for people: without the ways and files that lead to it. */
export function nameTokenPlace({ keystoreUri, object }: TokenPlace): string {
  const { path } = parsePkcs11Uri(keystoreUri, 'config-invalid');
  return formatPkcs11Uri({ path: { ...path, object } });
}

/**
 * Reads `pkcs11:token=T;object=NAME?module-path=/...so&pin-source=file:/...` (RFC 7512): the URI of
 * a keystore, with the label of a key. Error: `config-invalid`.
 */
export function parseTokenPlace(text: string): TokenPlace {
  const { path, ...rest } = parsePkcs11Uri(text, 'config-invalid');
  const { object, type, id, ...token } = path;
  if (object === undefined || object === '') {
    throw new KeyreeveError('config-invalid', 'The URI of the root key names no key.', {
      hint: 'Add the label that it has, or is to have, in the token: object=NAME.',
    });
  }
  if (id !== undefined || (type !== undefined && type !== 'private')) {
    throw new KeyreeveError('config-invalid', 'The URI of the root key says too much.', {
      hint: 'The key is found by its label: leave out id, and any type but private.',
    });
  }
  const keystoreUri = formatPkcs11Uri({ path: token, ...rest });
  readSettings(keystoreUri);
  return { kind: 'token', keystoreUri, object };
}

/** One form for each place; it holds no secret, since a PIN in it is refused. */
export function formatTokenPlace({ keystoreUri, object }: TokenPlace): string {
  const { path, ...rest } = parsePkcs11Uri(keystoreUri, 'config-invalid');
  return formatPkcs11Uri({ path: { ...path, object }, ...rest });
}
