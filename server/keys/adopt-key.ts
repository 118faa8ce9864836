import { policy as policySchema } from '../../api/fields.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { AdoptedKey } from '../keystores/keystores.ts';
import type { KeyRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { currentVersion, effectiveState } from './key-rules.ts';
import { newKey, requireSuccessor, versionOf } from './make-key.ts';
import { appendVersion, versionsMax } from './make-version.ts';
import { requireAssurance, requireStorage } from './storage-rules.ts';

/** The key that signs the certificates of the digital certificate system. */
export const currentKeyName = 'certificates/signing';

/**
 * Takes the key file that `CRYPTO_CURRENT_KEY_ID` names into use, in place: as the first version of
 * `certificates/signing`, or, where the operator put a new file and its name there, as the next
 * one. A file that has been a version before is left as it is: the database rules, and rotation may
 * have moved on from it. Errors: `not-found` where the file is not there, `keystore-unavailable`,
 * `wrong-passphrase`, `invalid-key-material`, `config-invalid`.
 */
export async function adoptCurrentKey(
  keys: Keys,
  name: string,
): Promise<'adopted' | 'current' | 'superseded'> {
  const uri = `file:${name}`;
  const known = await keys.store.find(currentKeyName);
  const version = known?.versions.find((candidate) => candidate.uri === uri);
  if (known !== undefined && version !== undefined) {
    const current = currentVersion(known, keys.clock.now());
    return current?.version === version.version ? 'current' : 'superseded';
  }
  const adopted = await keys.keystores.named('file').adopt!({ label: name });
  await keys.storage.commit(
    known === undefined ? firstVersion(keys, adopted) : await nextVersion(keys, known, adopted),
  );
  return 'adopted';
}

function firstVersion(keys: Keys, { algorithm, stored }: AdoptedKey) {
  const now = keys.clock.now();
  const key = newKey(
    {
      name: currentKeyName,
      algorithm,
      purpose: 'sign',
      keystore: 'file',
      labels: {},
      policy: policySchema.parse({}),
    },
    { ownerId: 'system', kind: 'file', now },
  );
  const version = versionAt(key.id, 1, algorithm, now);
  const record = { ...key, versions: [versionOf(stored, version, key.keystore)] };
  return {
    steps: [keys.store.insertKey(record, now), keys.store.insertVersion(version, stored)],
    entries: [adoptionEntry(keys, key.id, 1, stored)],
    raisesEpoch: true,
  };
}

async function nextVersion(keys: Keys, key: KeyRecord, { algorithm, stored }: AdoptedKey) {
  const now = keys.clock.now();
  const newest = key.versions.at(-1)!;
  const isLiving = key.destroyAt === null && effectiveState(newest, now) !== 'destroyed';
  if (!isLiving || key.versions.length >= versionsMax) {
    throw new KeyreeveError('config-invalid', `${currentKeyName} takes no further version.`, {
      hint: 'Unset CRYPTO_CURRENT_KEY_ID.',
    });
  }
  requireSuccessor(key, algorithm);
  const keystore = keys.keystores.named('file');
  requireStorage('default', key, keystore);
  await requireAssurance(key.policy, keystore);
  const number = newest.version + 1;
  const version = versionAt(key.id, number, algorithm, now);
  return {
    steps: appendVersion(keys, key, version, stored, now).steps,
    entries: [adoptionEntry(keys, key.id, number, stored)],
    raisesEpoch: true,
  };
}

function versionAt(keyId: string, version: number, algorithm: KeyRecord['algorithm'], now: number) {
  return {
    keyId,
    version,
    algorithm,
    state: 'active',
    origin: 'adopted',
    createdAt: now,
    activatesAt: now,
    deactivatesAt: null,
  } as const;
}

function adoptionEntry(keys: Keys, keyId: string, version: number, stored: AdoptedKey['stored']) {
  return serviceEntry(keys.clock, 'key.adopt', 'ok', {
    keyId,
    keyName: currentKeyName,
    keyVersion: String(version),
    detail: canonicalJson({ uri: stored.uri, fingerprint: stored.fingerprint, origin: 'adopted' }),
  });
}
