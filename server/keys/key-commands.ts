import { createHash } from 'node:crypto';
import type { EntryDraft } from '../../api/entry.ts';
import type { KeyImportBody } from '../../api/routes/keys.ts';
import type { Caller } from '../base/caller.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { KeyMaterial } from '../crypto/crypto.ts';
import { adoptObject } from './adopt-object.ts';
import { changeState, updateKey } from './change-key.ts';
import { draftKey, type KeyDraft, refuseSystemFolder, refuseTaken } from './draft-key.ts';
import { resourceOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { schemeFor, versionsFor } from './key-rules.ts';
import { viewOf } from './key-view.ts';
import { importedMaterial } from './make-key.ts';
import { makeFirstVersion, makingDetail, makingIntent, newAttempt } from './make-version.ts';
import { cancelDestruction, requestDestruction } from './request-destruction.ts';
import { rotateKey } from './rotate-key.ts';

type CommandRoutes =
  | 'key.create'
  | 'key.import'
  | 'key.adopt'
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
    'key.adopt': (call) => adoptObject(keys, commands, call),
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
  const attempt = newAttempt();
  const intent = makingIntent(keystore, key, 1, attempt);
  let undo: () => Promise<void> = async () => undefined;
  return commands.run(caller, {
    action,
    resource: resourceOf(key),
    about,
    input: withoutSecrets(body),
    idempotencyKey,
    ...(intent === undefined ? {} : { intent }),
    act: async () => {
      refuseSystemFolder(body.name);
      refuseBareAuthority(body, action);
      await refuseTaken(keys, key.name);
      const { material, entries } =
        action === 'key.create'
          ? { material: key.algorithm, entries: [] }
          : await importFor(keys, commands, caller, key, body);
      const origin = action === 'key.import' ? 'imported' : 'generated';
      const made = await makeFirstVersion(keys, key, { material, origin, attempt }, now);
      undo = made.undo;
      return {
        result: viewOf(made.record, now),
        steps: made.steps,
        entries,
        about: { ...about, detail: canonicalJson(makingDetail(made)) },
      };
    },
    undo: () => undo(),
  });
}

/** The key that comes in, and the entry of the key that unwrapped it: using that is a use. */
async function importFor(
  keys: Keys,
  commands: Commands,
  caller: Caller,
  key: KeyDraft,
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

/** A CA is more than its key: it is made, or taken over, as a whole. */
function refuseBareAuthority(body: KeyImportBody, action: 'key.create' | 'key.import'): void {
  if (body.purpose !== 'ca') return;
  const command = action === 'key.create' ? 'ca create' : 'ca import';
  throw new KeyreeveError('purpose-not-allowed', 'The key of a CA is made together with the CA.', {
    hint: `Use: keyreeve ${command} ${body.name}`,
  });
}

/** What an idempotency key stands for: of secrets a digest at most, of a passphrase nothing. */
function withoutSecrets(body: KeyImportBody): Json {
  const { passphrase: _, material, ...plain } = body;
  const digest =
    material === undefined ? undefined : createHash('sha256').update(material).digest('hex');
  return { ...plain, policy: { ...plain.policy }, materialDigest: digest };
}
