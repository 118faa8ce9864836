import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { test } from 'node:test';
import { policy as policySchema } from '../../api/fields.ts';
import type { KeyreeveError } from '../base/errors.ts';
import { draftKey, makeFirstVersion } from './keys.ts';
import { openTestKeys, type TestKeysOptions } from './testing.ts';

const data = Buffer.from('a message').toString('base64');
const refused = (code: string) => ({ code });

test('the key of a CA is neither made, taken in, rotated nor used as other keys are', async () => {
  await using keys = await opened();
  for (const [route, hint] of [
    ['key.create', /ca create ca\/root/],
    ['key.import', /ca import ca\/root/],
  ] as const) {
    const bare = { name: 'ca/root', algorithm: 'p-256', purpose: 'ca', material: 'AAAA' };
    await assert.rejects(
      keys.call(route, 'ca/root', { ...bare, labels: {}, policy: policySchema.parse({}) }),
      (error: KeyreeveError) => error.code === 'purpose-not-allowed' && hint.test(error.hint ?? ''),
    );
  }
  // As the CA's own making has it.
  const draft = await draftKey(
    keys.keys,
    keys.caller(),
    'ca.create',
    {
      name: 'ca/root',
      algorithm: 'rsa-2048',
      purpose: 'ca',
      labels: {},
      policy: policySchema.parse({}),
    },
    keys.clock.now(),
  );
  assert.deepEqual(draft.schemes, ['rsa-pkcs1-sha256']);
  const from = { material: draft.algorithm, origin: 'generated' } as const;
  const made = await makeFirstVersion(keys.keys, draft, from, keys.clock.now());
  const message = Buffer.from('before there is a row');
  const signature = await keys.keys.sign(made.version, draft.schemes[0]!, message);
  assert.ok(verify('sha256', message, keys.keys.publicKey(made.version), signature));
  await keys.storage.commit({ steps: made.steps, entries: [], raisesEpoch: true });
  await assert.rejects(keys.call('key.sign', 'ca/root', { data }), refused('purpose-not-allowed'));
  await assert.rejects(
    keys.call('key.rotate', 'ca/root'),
    (error: KeyreeveError) =>
      error.code === 'purpose-not-allowed' && /ca rekey ca\/root/.test(error.hint ?? ''),
  );
});

test('what guards a key against destruction is part of the write', async () => {
  await using keys = await opened({
    destructionGuards: (storage) => (key) => [
      {
        query: storage.db.selectFrom('key').select('id').where('id', '=', key.id).compile(),
        expect: { rows: 0, code: 'ca-in-use', message: 'It is in use.' },
      },
    ],
  });
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  await assert.rejects(keys.call('key.destroy', 'k'), refused('ca-in-use'));
  assert.equal((await keys.call('key.show', 'k')).destroyAt, null);
});

async function opened(options: TestKeysOptions = {}) {
  const keys = await openTestKeys(options);
  return { ...keys, [Symbol.asyncDispose]: keys.close };
}
