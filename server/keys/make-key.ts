import {
  type AlgorithmName,
  algorithmOf,
  algorithms,
  defaultSchemes,
  type SchemeName,
  schemesFor,
} from '../../api/algorithms.ts';
import type { PolicyRequest } from '../../api/fields.ts';
import type { Purpose } from '../../api/purposes.ts';
import type { KeyImportBody } from '../../api/routes/keys.ts';
import type { KeystoreKind } from '../../api/storage-classes.ts';
import { KeyreeveError } from '../base/errors.ts';
import { isId, newId } from '../base/ids.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { importPrivate, type KeyMaterial, unwrapKey } from '../crypto/crypto.ts';
import type { StoredKey } from '../keystores/keystores.ts';
import { folderOf, type KeyRecord, keystoreAt, type VersionRecord } from './key-record.ts';
import { settlePolicy } from './policy-rules.ts';

/** Keys that the service makes for itself: callers neither make nor use any in this folder. */
export const systemFolder = 'system';
/** Where private keys go when nothing else is said. */
export const keystoreDefault = 'wrapped';

/** Checks an algorithm's name. Error: `unknown-algorithm`, naming those there are. */
export function requireAlgorithm(name: string): AlgorithmName {
  if (algorithmOf(name) !== undefined) return name as AlgorithmName;
  throw new KeyreeveError('unknown-algorithm', `The algorithm "${name}" is not known.`, {
    hint: `Known are: ${Object.keys(algorithms).join(', ')}.`,
  });
}

/** The schemes of a key: those asked for, if the algorithm has them for this purpose. */
export function requireSchemes(
  algorithm: AlgorithmName,
  purpose: Purpose,
  asked: readonly string[] | undefined,
): readonly SchemeName[] {
  const allowed: readonly string[] = schemesFor(algorithm, purpose);
  if (allowed.length === 0) {
    throw new KeyreeveError(
      'algorithm-purpose-mismatch',
      `${algorithm} does not serve the purpose "${purpose}".`,
      { hint: `It serves: ${Object.keys(algorithms[algorithm].purposes).join(', ')}.` },
    );
  }
  if (asked === undefined) return defaultSchemes(algorithm, purpose);
  const wrong = asked.find((scheme) => !allowed.includes(scheme));
  if (wrong !== undefined) {
    throw new KeyreeveError(
      'unknown-scheme',
      `${algorithm} has no scheme "${wrong}" for the purpose "${purpose}".`,
      { hint: `It has: ${allowed.join(', ')}.` },
    );
  }
  return [...new Set(asked)] as SchemeName[];
}

/** Refuses a keystore that the policy does not allow. */
export function requireKeystoreAllowed(policy: PolicyRequest, keystore: string): void {
  if (policy.keystores === undefined || policy.keystores.includes(keystore)) return;
  throw new KeyreeveError('invalid-policy', `The key's policy does not allow "${keystore}".`, {
    hint: `It allows: ${policy.keystores.join(', ')}.`,
  });
}

/** What a request to make a key says, however its private half comes to be. */
export type MakingBody = Pick<
  KeyImportBody,
  'name' | 'algorithm' | 'purpose' | 'schemes' | 'keystore' | 'labels' | 'policy' | 'owner'
>;

/** The row of a new key, from a checked request. `kind` is that of the keystore it names. */
export function newKey(
  body: MakingBody,
  { ownerId, kind, now }: { ownerId: string; kind: KeystoreKind; now: number },
): Omit<KeyRecord, 'versions'> {
  if (isId(body.name)) {
    throw new KeyreeveError('invalid-name', `"${body.name}" has the form of an id.`, {
      hint: 'Choose another name: a key is found by either.',
    });
  }
  const algorithm = requireAlgorithm(body.algorithm);
  const keystore = body.keystore ?? keystoreDefault;
  requireKeystoreAllowed(body.policy, keystore);
  return {
    id: newId('key'),
    name: body.name,
    folder: folderOf(body.name),
    purpose: body.purpose,
    algorithm,
    schemes: requireSchemes(algorithm, body.purpose, body.schemes),
    policy: settlePolicy(body.policy, kind),
    labels: body.labels,
    ownerId,
    keystore,
    createdAt: now,
    destroyAt: null,
    revision: 1,
  };
}

/** The key that a request to import carries, opened and recomputed. */
export async function importedMaterial(
  body: KeyImportBody,
  algorithm: AlgorithmName,
  wrapping: (() => Promise<{ material: KeyMaterial; scheme: SchemeName }>) | undefined,
): Promise<KeyMaterial> {
  const ways = [body.material, body.wrapped].filter((way) => way !== undefined).length;
  if (ways !== 1 || (body.wrapped !== undefined) !== (body.wrappingKey !== undefined)) {
    throw new KeyreeveError(
      'invalid-request',
      'An import carries either `material`, or `wrapped` with `wrappingKey`.',
    );
  }
  using passphrase =
    body.passphrase === undefined ? undefined : new SecretBytes(Buffer.from(body.passphrase));
  if (wrapping === undefined) {
    using material = new SecretBytes(decodeBase64(body.material!));
    return importPrivate(algorithm, material, passphrase);
  }
  const key = await wrapping();
  using unwrapped = await unwrapKey(
    key.scheme,
    key.material.privateKey,
    decodeBase64(body.wrapped!),
  );
  return importPrivate(algorithm, unwrapped, passphrase);
}

function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') === text) return bytes;
  throw new KeyreeveError('invalid-request', 'The key material is not base64 with padding.');
}

/** A version as it will be read back, for the answer that leaves after the commit. */
export function versionOf(
  stored: StoredKey,
  facts: Pick<
    VersionRecord,
    | 'keyId'
    | 'version'
    | 'algorithm'
    | 'state'
    | 'origin'
    | 'createdAt'
    | 'activatesAt'
    | 'deactivatesAt'
  >,
  keystore: string,
): VersionRecord {
  return {
    ...facts,
    publicKey: stored.publicKey,
    fingerprint: stored.fingerprint,
    keystore: keystoreAt(stored.uri, keystore),
    uri: stored.uri,
  };
}

/** Whether an algorithm may follow another under the same key: it has to serve the same schemes. */
export function requireSuccessor(key: KeyRecord, algorithm: KeyRecord['algorithm']): void {
  const offered: readonly string[] = schemesFor(algorithm, key.purpose);
  const missing = key.schemes.filter((scheme) => !offered.includes(scheme));
  if (missing.length === 0) {
    if (algorithms[algorithm].securityBits >= algorithms[key.algorithm].securityBits) return;
    throw new KeyreeveError(
      'invalid-policy',
      `${algorithm} is weaker than ${key.algorithm}: a rotation does not weaken a key.`,
      { hint: 'Leave the algorithm out, or choose one that is at least as strong.' },
    );
  }
  throw new KeyreeveError(
    'algorithm-purpose-mismatch',
    `${algorithm} does not have the schemes of ${key.name}: ${missing.join(', ')}.`,
    { hint: 'Make a new key: schemes are fixed when a key is made.' },
  );
}
