import { KeyreeveError } from '../../base/errors.ts';
import type { Call } from '../../base/handler.ts';
import { SecretBytes } from '../../base/secret-bytes.ts';
import { importPrivate, type KeyMaterial } from '../../crypto/crypto.ts';
import { findObject, type KeyDraft, resourceOf } from '../../keys/keys.ts';
import type { AdoptedKey } from '../../keystores/keystores.ts';
import type { AuthorityCertificate } from './authority-certificate.ts';
import type { TakeoverParts } from './takeover-parts.ts';

type ImportBody = Call<'ca.import'>['body'];

/** The private key, every component recomputed; it has to be that of the certificate. */
export async function readKey(
  body: ImportBody,
  { algorithm, certificate }: AuthorityCertificate,
): Promise<KeyMaterial> {
  using passphrase =
    body.passphrase === undefined ? undefined : new SecretBytes(Buffer.from(body.passphrase));
  using pem = new SecretBytes(Buffer.from(body.key ?? ''));
  const material = await importPrivate(algorithm, pem, passphrase);
  if (material.spki?.equals(certificate.spki) === true) return material;
  throw otherKey('Send the key and the certificate of the same CA.');
}

/**
 * The key of the CA in its keystore, if that is where it lies; undefined where it comes with the
 * request. It has to be that of the certificate.
 */
export async function adoptedKey(
  { keys }: TakeoverParts,
  { caller, body }: Call<'ca.import'>,
  key: KeyDraft,
  { certificate }: AuthorityCertificate,
): Promise<AdoptedKey | undefined> {
  const { object, objectId, keystore } = body;
  const isNamed = object !== undefined || objectId !== undefined;
  if ((body.key !== undefined) === isNamed || (isNamed && keystore === undefined)) {
    throw new KeyreeveError(
      'invalid-request',
      'A take-over carries either the private key, or the name of the key in its keystore.',
      { hint: 'Give --key FILE, or --keystore NAME with --object LABEL or --object-id HEX.' },
    );
  }
  if (keystore === undefined || !isNamed) return undefined;
  // What lies in the keystore is not told to those who may not have it.
  keys.authorise(caller, 'key.adopt', resourceOf(key));
  const adopted = await findObject(keys, { keystore, object, objectId });
  const { publicKey } = adopted.stored;
  if (publicKey !== null && certificate.spki.equals(publicKey)) return adopted;
  throw otherKey('Name the key that the certificate was made for.');
}

function otherKey(hint: string): KeyreeveError {
  return new KeyreeveError(
    'invalid-key-material',
    'The private key is not the one that the certificate was made for.',
    { hint },
  );
}
