import { KeyreeveError } from '../base/errors.ts';
import { type AdoptedKey, sealedFingerprint } from '../keystores/keystores.ts';
import type { Step } from '../storage/storage.ts';
import type { Keys } from './key-ring.ts';

/** How a request names a key that lies in a keystore already. */
export interface ObjectNames {
  readonly keystore: string;
  readonly object?: string | undefined;
  readonly objectId?: string | undefined;
}

/**
 * Looks at a key that lies in a keystore already. Whoever asks gets to know what lies there: he has
 * been asked for the right to adopt. Errors: `capability-missing`, `invalid-request`, and those of
 * `Keystore.adopt`.
 */
export async function findObject(keys: Keys, names: ObjectNames): Promise<AdoptedKey> {
  const keystore = keys.keystores.named(names.keystore);
  if (keystore.adopt === undefined) {
    throw new KeyreeveError(
      'capability-missing',
      `The keystore "${keystore.name}" has no keys of its own to adopt.`,
      { hint: 'Keys in tokens and key files can be adopted; others are imported: key import.' },
    );
  }
  if (names.object === undefined && names.objectId === undefined) {
    throw new KeyreeveError('invalid-request', 'Which key of the keystore is not said.', {
      hint: 'Name it by its label or its id: --object LABEL or --object-id HEX',
    });
  }
  return keystore.adopt({
    ...(names.object === undefined ? {} : { label: names.object }),
    ...(names.objectId === undefined ? {} : { id: names.objectId }),
  });
}

/**
 * Two keys on one private half would destroy each other, and the rights of one would open the other.
 * The fingerprint tells, since one object has several addresses: of its token, and of each group that
 * the token is in. Nor is the root key anybody's. Error: `already-exists`.
 */
export async function refuseAdopted({ storage }: Keys, { stored }: AdoptedKey): Promise<void> {
  const rootKey = await sealedFingerprint(storage);
  if (rootKey !== undefined && stored.fingerprint.startsWith(rootKey)) {
    throw new KeyreeveError('already-exists', 'This key is the root key of the service.', {
      hint: 'It is used by the service alone.',
    });
  }
  const known = await storage.db
    .selectFrom('key_version')
    .innerJoin('key', 'key.id', 'key_version.key_id')
    .select('key.name')
    .where(({ eb, or }) =>
      or([
        eb('key_version.uri', '=', stored.uri),
        eb('key_version.fingerprint', '=', stored.fingerprint),
      ]),
    )
    .where('key_version.state', '!=', 'destroyed')
    .executeTakeFirst();
  if (known === undefined) return;
  throw new KeyreeveError('already-exists', `This key of the keystore is ${known.name} already.`, {
    hint: `Look at it: keyreeve key show ${known.name}`,
  });
}

/** The same as a step of the write that adopts. */
export function notAdopted({ storage }: Keys, { stored }: AdoptedKey): Step {
  return {
    query: storage.db
      .selectFrom('key_version')
      .select('key_id')
      .where(({ eb, or }) =>
        or([
          eb('key_version.uri', '=', stored.uri),
          eb('key_version.fingerprint', '=', stored.fingerprint),
        ]),
      )
      .where('state', '!=', 'destroyed')
      .compile(),
    expect: {
      rows: 0,
      code: 'already-exists',
      message: 'This key of the keystore was adopted meanwhile.',
    },
  };
}
