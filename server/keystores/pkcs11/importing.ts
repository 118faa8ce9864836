import { createSecretKey, KeyObject, randomBytes } from 'node:crypto';
import { KeyreeveError } from '../../base/errors.ts';
import { type KeyMaterial, serializePrivate, wrapKey } from '../../crypto/crypto.ts';
import { keyTypes, mechanisms } from './constants.ts';
import type { TokenKeyKind } from './key-kinds.ts';

import type { ImportRequest } from './protocol.ts';
import { publicNumbers } from './public-half.ts';
import { importRequest, type KeyNames } from './templates.ts';
import type { TokenView } from './token-view.ts';

const wrappingKeyBytes = 32;

/** The mechanism that opens AES-KWP (RFC 5649) in this token; undefined where it has none. */
export function importMechanism(token: TokenView): number | undefined {
  if (token.has(mechanisms.aesKeyWrapKwp)) return mechanisms.aesKeyWrapKwp;
  const isKwp = token.quirks.keyWrapPad === 'kwp' && token.has(mechanisms.aesKeyWrapPad);
  return isKwp ? mechanisms.aesKeyWrapPad : undefined;
}

/** Wraps a key under a fresh key for its way into the token. Error: `capability-missing`. */
export function wrapForImport(
  material: KeyMaterial,
  kind: TokenKeyKind,
  names: KeyNames,
  token: TokenView,
): { readonly request: ImportRequest; readonly items: readonly Uint8Array[] } {
  const mechanism = importMechanism(token);
  const isLocal = material.privateKey instanceof KeyObject;
  const isTaken =
    kind.keyType !== keyTypes.mlDsa && !token.quirks.notImported.includes(material.algorithm);
  if (mechanism === undefined || !isLocal || !isTaken) {
    throw new KeyreeveError(
      'capability-missing',
      isLocal
        ? `The token "${token.facts.label}" (${token.facts.model}) cannot take this key in.`
        : 'The key never leaves its keystore.',
      { hint: 'Make a new key in the token, and rotate to it.' },
    );
  }
  using secret = serializePrivate(material);
  const wrappingKey = randomBytes(wrappingKeyBytes);
  const wrapped = wrapKey('aes-kwp', createSecretKey(wrappingKey), secret);
  const numbers =
    material.publicKey === undefined ? [] : publicNumbers(material.algorithm, material.publicKey);
  return {
    request: importRequest(kind, names, mechanism, numbers),
    items: [wrappingKey, wrapped],
  };
}
