import { createHash } from 'node:crypto';
import { type AlgorithmName, algorithms } from '../../../api/algorithms.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { KeyIdentity, KeyLocation } from '../keystore.ts';
import type { FoundObject, ObjectSelector, TokenFacts } from './protocol.ts';
import type { KeyNames } from './templates.ts';
import { formatPkcs11Uri, parsePkcs11Uri } from './uri.ts';

/** As long as a SHA-1, which is what tokens are used to. */
const idBytes = 20;
const labelCharactersMaximum = 200;

/** The names of a key in a token: its CKA_ID is known before it is made, so that it is found. */
export function namesOf(identity: KeyIdentity): KeyNames {
  return {
    id: idOf(identity),
    label:
      identity.label ?? `${identity.name.slice(0, labelCharactersMaximum)} v${identity.version}`,
  };
}

/** CKA_ID in hex: the start of SHA-256 of key id, version and attempt. */
export function idOf({ keyId, version, attempt }: Omit<KeyIdentity, 'name'>): string {
  const own = `keyreeve ${keyId} ${version}`;
  const text = attempt === undefined ? own : `${own} ${attempt}`;
  return createHash('sha256')
    .update(text)
    .digest('hex')
    .slice(0, idBytes * 2);
}

/** The URI of a key in a token (RFC 7512). */
export function keyUri(facts: TokenFacts, object: FoundObject): string {
  return formatPkcs11Uri({
    path: {
      token: facts.label,
      ...(object.label === '' ? {} : { object: object.label }),
      type: object.class === 'secret' ? 'secret-key' : 'private',
      ...(object.id === '' ? {} : { id: Buffer.from(object.id, 'hex') }),
    },
  });
}

/** The address of a key that several tokens hold: it names none of them. */
export function withoutToken(uri: string): string {
  const { token: _, ...path } = parsePkcs11Uri(uri, 'integrity-failed').path;
  return formatPkcs11Uri({ path });
}

/** Where a key of this identity lies in a token, by its CKA_ID. */
export function addressOf(identity: KeyIdentity, algorithm: AlgorithmName): string {
  const type = classOf(algorithm) === 'secret' ? 'secret-key' : 'private';
  return formatPkcs11Uri({ path: { type, id: Buffer.from(idOf(identity), 'hex') } });
}

/** Whether an address names the object of this identity. */
export function isAddressOf(identity: KeyIdentity, uri: string): boolean {
  return parsePkcs11Uri(uri, 'integrity-failed').path.id?.toString('hex') === idOf(identity);
}

/** Which object a stored key is. The id alone where it has one. Error: `integrity-failed`. */
export function selectorOf(
  location: Pick<KeyLocation, 'uri' | 'algorithm'>,
  tokenLabel: string | undefined,
): ObjectSelector {
  const { path } = parsePkcs11Uri(location.uri, 'integrity-failed');
  const isOther = tokenLabel !== undefined && path.token !== undefined && path.token !== tokenLabel;
  if (isOther || (path.id === undefined && path.object === undefined)) {
    throw new KeyreeveError(
      'integrity-failed',
      isOther ? 'The key is in another token.' : 'The address of the key names no key.',
      { hint: 'Look at the URI of the keystore: it names the token.' },
    );
  }
  const objectClass = classOf(location.algorithm);
  return path.id === undefined
    ? { class: objectClass, label: path.object }
    : { class: objectClass, id: path.id.toString('hex') };
}

export function classOf(algorithm: AlgorithmName): 'private' | 'secret' {
  return algorithms[algorithm].kind === 'symmetric' ? 'secret' : 'private';
}
