import { createHash } from 'node:crypto';
import type { EntryDraft } from '../../api/entry.ts';
import type { KeyImportBody } from '../../api/routes/keys.ts';
import type { Caller } from '../base/caller.ts';
import type { Json } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { KeyMaterial } from '../crypto/crypto.ts';
import { changeState, updateKey } from './change-key.ts';
import { type KeyRecord, resourceOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { endOf, schemeFor, versionsFor } from './key-rules.ts';
import { viewOf } from './key-view.ts';
import { importedMaterial, newKey, store, systemFolder, versionOf } from './make-key.ts';
import { cancelDestruction, requestDestruction } from './request-destruction.ts';
import { rotateKey } from './rotate-key.ts';

type CommandRoutes =
  | 'key.create'
  | 'key.import'
  | 'key.update'
  | 'key.rotate'
  | 'key.state'
  | 'key.destroy'
  | 'key.cancel-destroy';

/** The routes that change keys. */
export function createKeyCommands(keys: Keys, commands: Commands): Handlers<CommandRoutes> {
  return {
    'key.create': ({ caller, body, idempotencyKey }) =>
      makeKey(keys, commands, caller, 'key.create', body, idempotencyKey),
    'key.import': ({ caller, body, idempotencyKey }) =>
      makeKey(keys, commands, caller, 'key.import', body, idempotencyKey),
    'key.update': (call) => updateKey(keys, commands, call),
    'key.rotate': (call) => rotateKey(keys, commands, call),
    'key.state': (call) => changeState(keys, commands, call),
    'key.destroy': (call) => requestDestruction(keys, commands, call),
    'key.cancel-destroy': (call) => cancelDestruction(keys, commands, call),
  };
}

/** Makes a key, or takes one in. */
async function makeKey(
  keys: Keys,
  commands: Commands,
  caller: Caller,
  action: 'key.create' | 'key.import',
  body: KeyImportBody,
  idempotencyKey: string | undefined,
) {
  const now = keys.clock.now();
  const { key, keystore } = await commands.prepare(caller, action, async () => {
    const drafted = await draftKey(keys, caller, action, body, now);
    return { key: drafted, keystore: keys.keystores.named(drafted.keystore) };
  });
  const about = { keyId: key.id, keyName: key.name, keyVersion: '1' };
  const location = { keyId: key.id, version: 1, name: key.name };
  let undo: () => Promise<void> = async () => undefined;
  return commands.run(caller, {
    action,
    resource: resourceOf(key),
    about,
    input: withoutSecrets(body),
    idempotencyKey,
    ...(keystore.capabilities.external
      ? { intent: { kind: 'key.make', payload: { ...location, keystore: keystore.name } } }
      : {}),
    act: async () => {
      refuseSystemFolder(body.name);
      await refuseTaken(keys, key.name);
      const { material, entries } =
        action === 'key.create'
          ? { material: key.algorithm, entries: [] }
          : await importFor(keys, commands, caller, key, body);
      const stored = await store(keystore, key, 1, material);
      undo = () => keystore.destroy({ ...location, ...stored, algorithm: key.algorithm });
      const version = {
        keyId: key.id,
        version: 1,
        algorithm: key.algorithm,
        state: 'active',
        origin: action === 'key.import' ? 'imported' : 'generated',
        createdAt: now,
        activatesAt: now,
        deactivatesAt: endOf(key, now),
      } as const;
      const record: KeyRecord = { ...key, versions: [versionOf(stored, version)] };
      return {
        result: viewOf(record, now),
        steps: [keys.store.insertKey(record, now), keys.store.insertVersion(version, stored)],
        entries,
        about: {
          ...about,
          detail: JSON.stringify({
            algorithm: key.algorithm,
            purpose: key.purpose,
            keystore: key.keystore,
            fingerprint: stored.fingerprint,
            origin: version.origin,
          }),
        },
      };
    },
    undo: () => undo(),
  });
}

/** The row of the key to be made. Who may not make it learns nothing of which principals there are. */
async function draftKey(
  keys: Keys,
  caller: Caller,
  action: 'key.create' | 'key.import',
  body: KeyImportBody,
  now: number,
): Promise<Omit<KeyRecord, 'versions'>> {
  const own = newKey(body, caller.principalId, now);
  if (body.owner === undefined) return own;
  try {
    return { ...own, ownerId: await keys.principalId(body.owner) };
  } catch (error) {
    keys.authorise(caller, action, resourceOf(own));
    throw error;
  }
}

/** The key that comes in, and the entry of the key that unwrapped it: using that is a use. */
async function importFor(
  keys: Keys,
  commands: Commands,
  caller: Caller,
  key: Omit<KeyRecord, 'versions'>,
  body: KeyImportBody,
): Promise<{ material: KeyMaterial; entries: readonly EntryDraft[] }> {
  const { wrappingKey, wrappingScheme } = body;
  const entries: EntryDraft[] = [];
  const unwrapping = async (reference: string) => {
    const wrapper = await keys.lookup(caller, reference, 'key.unwrap');
    keys.authorise(caller, 'key.unwrap', resourceOf(wrapper));
    const version = versionsFor(wrapper, 'unwrap', 'process', undefined, keys.clock.now())[0]!;
    const scheme = schemeFor(wrapper, wrappingScheme);
    const about = { keyId: wrapper.id, keyName: wrapper.name, keyVersion: String(version.version) };
    entries.push(commands.entry(caller, 'use', 'key.unwrap', 'ok', { ...about, count: '1' }));
    return { material: await keys.open(version), scheme };
  };
  const material = await importedMaterial(
    body,
    key.algorithm,
    wrappingKey === undefined ? undefined : () => unwrapping(wrappingKey),
  );
  return { material, entries };
}

/** The folder `system` is the service's own. */
export function refuseSystemFolder(name: string): void {
  if (name !== systemFolder && !name.startsWith(`${systemFolder}/`)) return;
  throw new KeyreeveError('forbidden', `The folder "${systemFolder}" belongs to the service.`, {
    hint: 'Choose another folder.',
  });
}

async function refuseTaken(keys: Keys, name: string): Promise<void> {
  if ((await keys.store.find(name)) === undefined) return;
  throw new KeyreeveError('already-exists', `There is a key named ${name} already.`, {
    hint: `Look at it: keyreeve key show ${name}. To make a new version: keyreeve key rotate ${name}`,
  });
}

/** What an idempotency key stands for: of secrets a digest at most, of a passphrase nothing. */
function withoutSecrets(body: KeyImportBody): Json {
  const { passphrase: _, material, ...plain } = body;
  const digest =
    material === undefined ? undefined : createHash('sha256').update(material).digest('hex');
  return { ...plain, policy: { ...plain.policy }, materialDigest: digest };
}
