import type { KeyAdoptBody, KeyView } from '../../api/routes/keys.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { AdoptedKey } from '../keystores/keystores.ts';
import { draftKey, type KeyDraft, refuseSystemFolder, refuseTaken } from './draft-key.ts';
import { folderOf, resourceOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { viewOf } from './key-view.ts';
import { findObject, notAdopted, refuseAdopted } from './keystore-objects.ts';
import { makeFirstVersion, makingDetail } from './make-version.ts';

/**
 * Takes a key over that lies in a keystore already, in place: nothing is moved or changed there.
 * Whoever may do this gets the use of whatever lies in the keystore, so he is asked for the right
 * before anything is looked up. Errors: `not-found`, `already-exists`, `capability-missing`,
 * `storage-not-allowed`, `purpose-not-allowed` (a CA is taken over with its certificate).
 */
export async function adoptObject(
  keys: Keys,
  commands: Commands,
  call: Call<'key.adopt'>,
): Promise<KeyView> {
  const { caller, body } = call;
  const now = keys.clock.now();
  const { key, adopted } = await commands.prepare(caller, 'key.adopt', () =>
    lookAt(keys, call, now),
  );
  const about = { keyId: key.id, keyName: key.name, keyVersion: '1' };
  let undo: () => Promise<void> = async () => undefined;
  return commands.run(caller, {
    action: 'key.adopt',
    resource: resourceOf(key),
    about,
    input: { ...body, policy: { ...body.policy } },
    idempotencyKey: call.idempotencyKey,
    act: async () => {
      await refuseTaken(keys, key.name);
      await refuseAdopted(keys, adopted);
      const from = { material: adopted, origin: 'adopted' } as const;
      const made = await makeFirstVersion(keys, key, from, now);
      undo = made.undo;
      return {
        result: viewOf(made.record, now),
        steps: [notAdopted(keys, adopted), ...made.steps],
        about: {
          ...about,
          detail: canonicalJson({ ...makingDetail(made), uri: adopted.stored.uri }),
        },
      };
    },
    undo: () => undo(),
  });
}

async function lookAt(
  keys: Keys,
  { caller, body }: Call<'key.adopt'>,
  now: number,
): Promise<{ key: KeyDraft; adopted: AdoptedKey }> {
  const { name, purpose, labels } = body;
  const ownerId = caller.principalId;
  const folder = folderOf(name);
  keys.authorise(caller, 'key.adopt', {
    type: 'key',
    id: '',
    name,
    folder,
    purpose,
    ownerId,
    labels,
  });
  refuseSystemFolder(name);
  refuseAuthority(body);
  const adopted = await findObject(keys, body);
  const making = { ...body, algorithm: adopted.algorithm };
  return { key: await draftKey(keys, caller, 'key.adopt', making, now), adopted };
}

function refuseAuthority({ name, purpose }: KeyAdoptBody): void {
  if (purpose !== 'ca') return;
  throw new KeyreeveError('purpose-not-allowed', 'The key of a CA is taken over with the CA.', {
    hint: `Use: keyreeve ca import ${name}`,
  });
}
