import type { AlgorithmName } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  generateKeyMaterial,
  type KeyMaterial,
  parsePrivate,
  serializePrivate,
} from '../crypto/crypto.ts';
import type { KeyIdentity, KeyLocation, Keystore, StoredKey } from './keystore.ts';
import type { StoreKeys } from './store-keys.ts';

const uri = 'wrapped:';

/**
 * `wrapped:`, the default: private keys lie in the database under a store key, so that one commit
 * holds state, key and record, and every node has every key. The label binds the wrapped key to
 * its id, version and algorithm: rows cannot be exchanged.
 */
export function createWrappedKeystore(storeKeys: StoreKeys): Keystore {
  const store = (identity: KeyIdentity, material: KeyMaterial): StoredKey => {
    using secret = serializePrivate(material);
    return {
      uri,
      privateBlob: storeKeys.seal(label(identity, material.algorithm), secret.reveal()),
      storeKeyId: storeKeys.currentId,
      publicKey: material.spki ?? null,
      fingerprint: material.fingerprint,
    };
  };
  return {
    name: 'wrapped',
    kind: 'wrapped',
    capabilities: { import: true, export: false, list: false, attest: false, external: false },
    generate: async (identity, algorithm) => store(identity, await generateKeyMaterial(algorithm)),
    import: async (identity, material) => store(identity, material),
    open: async (location) => open(storeKeys, location),
    destroy: async () => undefined,
    discard: async () => undefined,
    exists: async () => false,
    isAt: (_, address) => address === uri,
    describe: async () => ({ assurance: 'none', assuranceFrom: 'kind' }),
    health: async () => ({ ready: true, reason: undefined }),
  };
}

function open(storeKeys: StoreKeys, location: KeyLocation): KeyMaterial {
  if (location.privateBlob === null) {
    throw new KeyreeveError('key-destroyed', 'The private key of this version is gone.', {
      hint: 'It was destroyed, or left out of the backup that was restored.',
    });
  }
  using secret = new SecretBytes(
    storeKeys.unseal(label(location, location.algorithm), location.privateBlob),
  );
  return parsePrivate(location.algorithm, secret);
}

function label(identity: { keyId: string; version: number }, algorithm: AlgorithmName): string {
  return `private key\n${identity.keyId}\n${identity.version}\n${algorithm}`;
}
