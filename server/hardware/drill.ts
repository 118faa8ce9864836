import { randomBytes } from 'node:crypto';
import { type AlgorithmName, schemes } from '../../api/algorithms.ts';
import type { KeystoreDrill } from '../../api/routes/keystores.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { isRemoteKey, type KeyMaterial, sign } from '../crypto/crypto.ts';
import {
  addressOf,
  type KeyIdentity,
  type KeyLocation,
  KeystoreGroup,
  memberRoles,
  type Pkcs11Keystore,
} from '../keystores/keystores.ts';
import type { LiveKeystore } from './registry.ts';

/** What a test key may be, the first that the token has. */
const candidates: readonly AlgorithmName[] = ['p-256', 'rsa-2048', 'p-384', 'rsa-3072', 'ed25519'];
const messageBytes = 32;

type Member = { readonly keystore: Pkcs11Keystore };

/**
 * Signs with a test key, in a group on each member by itself, and checks what came out against the
 * public half. The key is made by the first drill and stays. Errors: `capability-missing`; a member
 * that does not answer is part of the outcome.
 */
export async function drill(live: LiveKeystore, clock: Clock): Promise<KeystoreDrill> {
  const { keystore } = live;
  const identity = drillIdentity(keystore.name);
  const members =
    keystore instanceof KeystoreGroup
      ? memberRoles.map((role) => ({ keystore: keystore.members[role] }))
      : [{ keystore }];
  const algorithm = await algorithmFor(members);
  // Where that fails, the member itself says so below.
  const isMirrored = await prepare(live, members, identity, algorithm).catch(() => undefined);
  const location: KeyLocation = {
    ...{ ...identity, algorithm, uri: addressOf(identity, algorithm) },
    ...{ privateBlob: null, storeKeyId: null },
  };
  const results = await Promise.all(members.map((one) => signOn(one, location, clock)));
  const fingerprints = new Set(results.map(({ material }) => material?.fingerprint));
  const isSame = fingerprints.size === 1 && !fingerprints.has(undefined);
  const outcomes = results.map(({ outcome }) => outcome);
  return {
    ok: outcomes.every(({ ok }) => ok) && (isMirrored !== true || isSame),
    at: formatTime(clock.now()),
    algorithm,
    isShared: members.length === 1 ? null : isSame,
    members: outcomes,
  };
}

/** Removes the test key of a keystore that is taken out of use. */
export async function removeDrillKey(live: LiveKeystore): Promise<void> {
  await live.keystore.discard(drillIdentity(live.record.name));
}

function drillIdentity(name: string): KeyIdentity {
  return { keyId: `drill ${name}`, version: 1, name: `keyreeve drill ${name}` };
}

async function algorithmFor(members: readonly Member[]): Promise<AlgorithmName> {
  const lists = await Promise.all(
    members.map(({ keystore }) => keystore.abilities().catch(() => undefined)),
  );
  const known = lists.filter((list) => list !== undefined);
  const found = candidates.find((candidate) =>
    known.every((list) =>
      list.some(
        (one) =>
          one.algorithm === candidate && one.schemes.some((name) => schemes[name].act === 'sign'),
      ),
    ),
  );
  if (found !== undefined) return found;
  throw new KeyreeveError('capability-missing', 'The token makes no key that a drill could use.', {
    hint: `A drill takes one of: ${candidates.join(', ')}.`,
  });
}

/** Makes the test key where it is not there; whether the members of a group are to share it. */
async function prepare(
  { keystore }: LiveKeystore,
  members: readonly Member[],
  identity: KeyIdentity,
  algorithm: AlgorithmName,
): Promise<boolean> {
  const isMirrored = keystore instanceof KeystoreGroup && (await keystore.canMirror(algorithm));
  const found = await Promise.all(members.map((one) => one.keystore.exists(identity)));
  if (isMirrored) {
    if (!found.includes(false)) return true;
    await keystore.discard(identity);
    await keystore.generate(identity, algorithm);
    return true;
  }
  for (const [index, one] of members.entries()) {
    if (found[index] !== true) await one.keystore.generate(identity, algorithm);
  }
  return false;
}

async function signOn(
  { keystore }: Member,
  location: KeyLocation,
  clock: Clock,
): Promise<{ outcome: KeystoreDrill['members'][number]; material: KeyMaterial | undefined }> {
  try {
    const material = await keystore.open(location);
    const { privateKey } = material;
    const scheme = isRemoteKey(privateKey)
      ? [...privateKey.schemes].find((name) => schemes[name].act === 'sign')
      : undefined;
    if (scheme === undefined) throw new Error('The key signs with no scheme.');
    const start = clock.monotonic();
    // Verified with the public half before it comes back.
    await sign(scheme, privateKey, randomBytes(messageBytes));
    const milliseconds = Math.round((clock.monotonic() - start) * 10) / 10;
    return { outcome: { keystore: keystore.name, ok: true, milliseconds, reason: null }, material };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const outcome = { keystore: keystore.name, ok: false, milliseconds: null, reason };
    return { outcome, material: undefined };
  }
}
