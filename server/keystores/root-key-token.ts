import { pino } from 'pino';
import type { AlgorithmName } from '../../api/algorithms.ts';
import { systemClock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { KeyMaterial } from '../crypto/crypto.ts';
import { isRemoteKey } from '../crypto/crypto.ts';
import type { AdoptedKey, KeyIdentity, KeystoreHealth } from './keystore.ts';
import { createPkcs11Keystore, type Pkcs11Keystore } from './pkcs11/pkcs11.ts';
import type { RootKey, RootKeyGuard, RootKeySurroundings, TokenPlace } from './root-key-kinds.ts';
import { nameTokenPlace } from './root-key-uri.ts';
import {
  type EnvelopeKey,
  envelopeSchemes,
  openEnvelope,
  sealEnvelope,
} from './signed-envelope.ts';

/** The longest that the token makes: many TPMs stop at 2048 bits. */
const algorithmsWanted = ['rsa-3072', 'rsa-2048'] as const satisfies readonly AlgorithmName[];
const fingerprintCharacters = 32;

/** A root key that never leaves its token: an RSA key that decrypts and signs there. */
class TokenRootKey implements RootKey {
  readonly location: TokenPlace;
  readonly guard: RootKeyGuard;
  readonly fingerprint: string;
  readonly #keystore: Pkcs11Keystore;
  readonly #key: EnvelopeKey;

  constructor(
    location: TokenPlace,
    guard: RootKeyGuard,
    keystore: Pkcs11Keystore,
    key: EnvelopeKey & Pick<KeyMaterial, 'fingerprint'>,
  ) {
    this.location = location;
    this.guard = guard;
    // Of the public key: the same in every token that holds the key.
    this.fingerprint = key.fingerprint.slice(0, fingerprintCharacters);
    this.#keystore = keystore;
    this.#key = key;
  }

  wrap(label: string, bytes: Uint8Array): Promise<Uint8Array> {
    return sealEnvelope(this.#key, label, bytes);
  }

  unwrap(label: string, wrapped: Uint8Array): Promise<Buffer> {
    return openEnvelope(this.#key, label, wrapped);
  }

  health(): Promise<KeystoreHealth> {
    return this.#keystore.health();
  }

  close(): Promise<void> {
    return this.#keystore.stop();
  }
}

/** The root key of that label in the token, or undefined where there is none. */
export function openRootKeyInToken(
  location: TokenPlace,
  surroundings: RootKeySurroundings,
): Promise<RootKey | undefined> {
  return withKeystore(location, surroundings, (keystore) => find(location, keystore));
}

/**
 * Makes a root key in a token that has none of that label. Killed in between, it leaves a key that
 * nothing was wrapped with, and that the next start takes.
 */
export async function createRootKeyInToken(
  location: TokenPlace,
  surroundings: RootKeySurroundings,
): Promise<RootKey> {
  const made = await withKeystore(location, surroundings, async (keystore) => {
    await generate(location, keystore);
    return find(location, keystore);
  });
  if (made !== undefined) return made;
  throw new KeyreeveError('keystore-unavailable', 'The token lost the root key it just made.', {
    hint: 'Look at the objects of the token with its own tools, then try again.',
  });
}

/** The keystore lives as long as the root key that comes out of it. */
async function withKeystore(
  location: TokenPlace,
  { log, clock, refusedPins, allowKeystore }: RootKeySurroundings,
  work: (keystore: Pkcs11Keystore) => Promise<RootKey | undefined>,
): Promise<RootKey | undefined> {
  const refusedBefore = await refusedPins?.recall(location.keystoreUri);
  const keystore = createPkcs11Keystore({
    name: 'root key',
    refusedPin: refusedBefore,
    uri: location.keystoreUri,
    beforeStart: allowKeystore && (() => allowKeystore(location.keystoreUri)),
    log: log ?? pino({ level: 'silent' }),
    clock: clock ?? systemClock,
  });
  let rootKey: RootKey | undefined;
  try {
    rootKey = await work(keystore);
    return rootKey;
  } catch (error) {
    if (!isKeyreeveError(error, 'keystore-unavailable')) throw error;
    throw new KeyreeveError('keystore-unavailable', `No way to the root key: ${error.message}`, {
      hint: 'Connect the token, look at module-path and pin-source in KEYREEVE_SEAL, and try again.',
      cause: error,
    });
  } finally {
    const { refusedPin } = keystore;
    if (refusedPin !== undefined && refusedPin !== refusedBefore) {
      await refusedPins?.note(location.keystoreUri, refusedPin);
    }
    if (rootKey === undefined) await keystore.stop();
  }
}

async function find(location: TokenPlace, keystore: Pkcs11Keystore): Promise<RootKey | undefined> {
  const adopted = await adopt(location, keystore);
  if (adopted === undefined) return undefined;
  if (adopted.extractable) {
    throw unfit(location, 'the token would give it away', 'Make another one, never extractable.');
  }
  const { algorithm, stored } = adopted;
  const material = await keystore.open({
    ...identityOf(location),
    algorithm,
    uri: stored.uri,
    privateBlob: null,
    storeKeyId: null,
  });
  const { publicKey, privateKey, fingerprint } = material;
  const can = isRemoteKey(privateKey) ? privateKey.schemes : new Set<string>();
  if (publicKey === undefined || !envelopeSchemes.every((scheme) => can.has(scheme))) {
    throw unfit(location, 'it is no RSA key that decrypts and signs', 'Name another object.');
  }
  const { assurance, assuranceFrom } = await keystore.describe();
  const isSoftware = assurance === 'none' && assuranceFrom === 'token';
  const guard = isSoftware ? 'software-token' : 'token';
  return new TokenRootKey(location, guard, keystore, { publicKey, privateKey, fingerprint });
}

async function adopt(
  location: TokenPlace,
  keystore: Pkcs11Keystore,
): Promise<AdoptedKey | undefined> {
  try {
    return await keystore.adopt({ label: location.object });
  } catch (error) {
    if (isKeyreeveError(error, 'not-found')) return undefined;
    throw error;
  }
}

async function generate(location: TokenPlace, keystore: Pkcs11Keystore): Promise<void> {
  for (const algorithm of algorithmsWanted) {
    try {
      await keystore.generate(identityOf(location), algorithm);
      return;
    } catch (error) {
      const isLast = algorithm === algorithmsWanted.at(-1);
      if (isLast || !isKeyreeveError(error, 'capability-missing')) throw error;
    }
  }
}

/** Its id in the token follows from its label, so that a second of the same label is refused. */
function identityOf({ object }: TokenPlace): KeyIdentity {
  return { keyId: `root key ${object}`, version: 1, name: object, label: object };
}

function unfit(location: TokenPlace, why: string, hint: string): KeyreeveError {
  return new KeyreeveError(
    'capability-missing',
    `The key ${nameTokenPlace(location)} cannot be a root key: ${why}.`,
    { hint },
  );
}
