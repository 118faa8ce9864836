import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { countEntries, openTestKeys } from './testing.ts';

const data = Buffer.from('a message').toString('base64');
const refused = (code: string) => ({ code });

test('a key is made, used, rotated, and its old version still verifies', async () => {
  await using keys = await open();
  const made = await keys.create({ name: 'app/sign', algorithm: 'p-256', purpose: 'sign' });
  assert.equal(made.currentVersion, 1);
  assert.equal(made.folder, 'app');
  const first = await keys.call('key.sign', 'app/sign', { data });
  const rotated = await keys.call('key.rotate', 'app/sign', {});
  assert.equal(rotated.currentVersion, 2);
  assert.equal(rotated.versions[0]!.state, 'deactivated');
  const second = await keys.call('key.sign', made.id, { data });
  assert.deepEqual([first.version, second.version], [1, 2]);
  for (const { signature, version } of [first, second]) {
    const verdict = await keys.call('key.verify', 'app/sign', { data, signature });
    assert.deepEqual([verdict.valid, verdict.version], [true, version]);
  }
  const other = Buffer.from('another').toString('base64');
  const verdict = await keys.call('key.verify', 'app/sign', {
    data: other,
    signature: first.signature,
  });
  assert.deepEqual([verdict.valid, verdict.version], [false, 0]);
  await assert.rejects(
    keys.call('key.sign', 'app/sign', { data, version: 1 }),
    refused('state-not-allowed'),
  );
});

test('what is wrong is refused with its code and changes nothing', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  await keys.create({ name: 'rsa', algorithm: 'rsa-3072', purpose: 'sign' });
  const attempts: [() => Promise<unknown>, string][] = [
    [() => keys.create({ name: 'x', algorithm: 'p-255', purpose: 'sign' }), 'unknown-algorithm'],
    [
      () => keys.create({ name: 'x', algorithm: 'p-256', purpose: 'encrypt' }),
      'algorithm-purpose-mismatch',
    ],
    [
      () =>
        keys.create({ name: 'x', algorithm: 'p-256', purpose: 'sign', schemes: ['ecdsa-sha512'] }),
      'unknown-scheme',
    ],
    [() => keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' }), 'already-exists'],
    [() => keys.create({ name: 'system/x', algorithm: 'p-256', purpose: 'sign' }), 'forbidden'],
    [
      () => keys.create({ name: 'x', algorithm: 'p-256', purpose: 'sign', keystore: 'none' }),
      'invalid-request',
    ],
    [
      () =>
        keys.create({
          name: 'x',
          algorithm: 'p-256',
          purpose: 'sign',
          policy: { keystores: ['file'] },
        }),
      'invalid-policy',
    ],
    [() => keys.call('key.sign', 'none', { data }), 'not-found'],
    [() => keys.call('key.encrypt', 'k', { plaintext: data }), 'purpose-not-allowed'],
    [() => keys.call('key.sign', 'k', { data, scheme: 'ecdsa-sha512' }), 'scheme-not-allowed'],
    [() => keys.call('key.sign', 'k', { data, version: 2 }), 'not-found'],
    [() => keys.call('key.state', 'k', { state: 'active' }), 'state-not-allowed'],
    [
      () => keys.call('key.rotate', 'k', { activatesAt: '2020-01-01T00:00:00Z' }),
      'invalid-request',
    ],
    [() => keys.call('key.rotate', 'k', { algorithm: 'ed25519' }), 'algorithm-purpose-mismatch'],
    [() => keys.call('key.rotate', 'rsa', { algorithm: 'rsa-2048' }), 'invalid-policy'],
    [() => keys.call('key.cancel-destroy', 'k', {}), 'state-not-allowed'],
    [() => keys.call('key.update', 'k', { revision: 7, labels: {} }), 'conflict'],
  ];
  for (const [attempt, code] of attempts) await assert.rejects(attempt(), refused(code));
  const list = await keys.handlers['key.list']({
    caller: keys.caller(),
    params: {},
    query: { limit: 50 },
    body: undefined,
    idempotencyKey: undefined,
  });
  assert.deepEqual(
    list.items.map((key) => [key.name, key.revision]),
    [
      ['k', 1],
      ['rsa', 1],
    ],
  );
});

test('fifty rotations that saw one version make one version', async () => {
  await using keys = await open();
  for (const keystore of ['wrapped', 'file']) {
    await keys.create({ name: keystore, algorithm: 'p-256', purpose: 'sign', keystore });
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => keys.call('key.rotate', keystore, { sawVersion: 1 })),
    );
    for (const answer of answers) assert.equal(answer.currentVersion, 2);
    const key = await keys.call('key.show', keystore);
    assert.equal(key.versions.length, 2);
  }
});

test('fifty creations of one name make one key', async () => {
  await using keys = await open();
  const attempts = await Promise.allSettled(
    Array.from({ length: 50 }, () =>
      keys.create({ name: 'one', algorithm: 'p-256', purpose: 'sign' }),
    ),
  );
  assert.equal(attempts.filter((attempt) => attempt.status === 'fulfilled').length, 1);
  for (const attempt of attempts) {
    if (attempt.status === 'rejected') assert.equal(attempt.reason.code, 'already-exists');
  }
});

test('a version that is published ahead is used from its time on, or when taken into use', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'ed25519', purpose: 'sign' });
  const at = formatTime(keys.clock.now() + 3_600_000);
  const published = await keys.call('key.rotate', 'k', { activatesAt: at });
  assert.equal(published.currentVersion, 1);
  assert.equal(published.versions[1]!.state, 'pre-active');
  await assert.rejects(
    keys.call('key.sign', 'k', { data, version: 2 }),
    refused('state-not-allowed'),
  );
  await assert.rejects(keys.call('key.rotate', 'k', { activatesAt: at }), refused('conflict'));
  assert.equal((await keys.call('key.sign', 'k', { data })).version, 1);
  keys.clock.advance(3600);
  assert.equal((await keys.call('key.sign', 'k', { data })).version, 2);
  assert.equal((await keys.call('key.show', 'k')).versions[0]!.state, 'deactivated');

  const next = formatTime(keys.clock.now() + 3_600_000);
  await keys.call('key.rotate', 'k', { activatesAt: next });
  const taken = await keys.call('key.rotate', 'k', {});
  assert.equal(taken.currentVersion, 3);
  assert.equal(taken.versions.length, 3);
});

test('what rotation does to the old version is policy', async () => {
  await using keys = await open();
  const policies = {
    supersede: {},
    overlap: { onRotation: 'overlap', overlapSeconds: 600 },
    expire: { onRotation: 'expire', validitySeconds: 1200 },
  };
  const states: Record<string, string[]> = {};
  for (const [name, policy] of Object.entries(policies)) {
    await keys.create({ name, algorithm: 'ed25519', purpose: 'sign', policy });
    await keys.call('key.rotate', name, {});
    states[name] = [];
  }
  for (const seconds of [0, 600, 600]) {
    keys.clock.advance(seconds);
    for (const name of Object.keys(policies)) {
      states[name]!.push((await keys.call('key.show', name)).versions[0]!.state);
    }
  }
  assert.deepEqual(states, {
    supersede: ['deactivated', 'deactivated', 'deactivated'],
    overlap: ['active', 'deactivated', 'deactivated'],
    expire: ['active', 'active', 'deactivated'],
  });
});

test('a suspended version signs nothing until it is active again; a compromised one never', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  const { signature } = await keys.call('key.sign', 'k', { data });
  await keys.call('key.state', 'k', { state: 'suspended' });
  await assert.rejects(keys.call('key.sign', 'k', { data }), refused('state-not-allowed'));
  assert.equal((await keys.call('key.verify', 'k', { data, signature })).valid, true);
  await keys.call('key.state', 'k', { state: 'active' });
  await keys.call('key.sign', 'k', { data });
  await keys.call('key.state', 'k', { state: 'compromised', reason: 'laptop stolen' });
  await assert.rejects(keys.call('key.sign', 'k', { data }), refused('state-not-allowed'));
  await assert.rejects(
    keys.call('key.state', 'k', { state: 'active' }),
    refused('state-not-allowed'),
  );
  const rotated = await keys.call('key.rotate', 'k', {});
  assert.equal(rotated.currentVersion, 2);
  assert.equal(rotated.versions[0]!.state, 'compromised');
});

test('validity ends a version by itself: it decrypts, and encrypts no more', async () => {
  await using keys = await open();
  await keys.create({
    name: 'k',
    algorithm: 'aes-256',
    purpose: 'encrypt',
    policy: { validitySeconds: 60, rotateEverySeconds: 60 },
  });
  const { ciphertext } = await keys.call('key.encrypt', 'k', { plaintext: data });
  keys.clock.advance(60);
  await assert.rejects(
    keys.call('key.encrypt', 'k', { plaintext: data }),
    refused('state-not-allowed'),
  );
  assert.equal((await keys.call('key.decrypt', 'k', { ciphertext })).plaintext, data);
  assert.equal(await keys.keys.store.countRotationDue(keys.clock.now()), 1);
  await keys.call('key.rotate', 'k', {});
  assert.equal(await keys.keys.store.countRotationDue(keys.clock.now()), 0);
  const again = await keys.call('key.re-encrypt', 'k', { ciphertext });
  assert.equal(again.version, 2);
  const opened = await keys.call('key.decrypt', 'k', { ciphertext: again.ciphertext });
  assert.deepEqual([opened.plaintext, opened.version], [data, 2]);
});

test('a destruction waits, refuses all use meanwhile, and can be taken back until then', async () => {
  await using keys = await open();
  await keys.create({
    name: 'k',
    algorithm: 'p-256',
    purpose: 'sign',
    policy: { destroyAfterSeconds: 3600 },
  });
  const { signature } = await keys.call('key.sign', 'k', { data });
  const pending = await keys.call('key.destroy', 'k', {});
  assert.equal(pending.key.destroyAt, formatTime(keys.clock.now() + 3_600_000));
  for (const [id, body] of [
    ['key.sign', { data }],
    ['key.verify', { data, signature }],
    ['key.rotate', {}],
    ['key.destroy', {}],
  ] as const) {
    await assert.rejects(keys.call(id, 'k', body), refused('key-pending-destruction'));
  }
  await keys.call('key.cancel-destroy', 'k', {});
  await keys.call('key.sign', 'k', { data });
  await keys.call('key.destroy', 'k', {});
  keys.clock.advance(3600);
  await assert.rejects(keys.call('key.cancel-destroy', 'k', {}), refused('key-destroyed'));
});

test('an idempotency key makes a repeated command answer the same, for its own request only', async () => {
  await using keys = await open();
  const body = { name: 'k', algorithm: 'p-256', purpose: 'sign' };
  const first = await keys.create(body, 'once');
  const again = await keys.create(body, 'once');
  assert.deepEqual(again, first);
  await assert.rejects(
    keys.create({ ...body, name: 'l' }, 'once'),
    refused('idempotency-mismatch'),
  );
  const rotated = await keys.call('key.rotate', 'k', {}, 'rotate-once');
  const repeated = await keys.call('key.rotate', 'k', {}, 'rotate-once');
  assert.deepEqual(repeated, rotated);
  assert.equal((await keys.call('key.show', 'k')).versions.length, 2);
});

test('every act and every refusal is one entry, a batch one for all its items', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  assert.equal(await countEntries(keys.storage), 1);
  await keys.call('key.sign', 'k', { data });
  await keys.call('key.sign.batch', 'k', { items: [{ data }, { data }, { data }] });
  assert.equal(await countEntries(keys.storage), 3);
  keys.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(keys.call('key.sign', 'k', { data }), refused('forbidden'));
  await assert.rejects(keys.call('key.rotate', 'k', {}), refused('forbidden'));
  assert.equal(await countEntries(keys.storage), 5);
});

test('a right that is lost while a use is under way holds its answer back', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  await keys.create({ name: 'other', algorithm: 'p-256', purpose: 'sign' });
  keys.rights.recheck = async () => {
    throw new KeyreeveError('unauthenticated', 'The token was revoked.');
  };
  // The rotation raises the epoch in the same group, or one before.
  const [use] = await Promise.allSettled([
    keys.call('key.sign', 'k', { data }),
    keys.call('key.update', 'other', { labels: { a: 'b' } }),
  ]);
  const later = keys.caller();
  await keys.call('key.update', 'other', { labels: { a: 'c' } });
  await assert.rejects(
    keys.handlers['key.sign']({
      caller: later,
      params: { key: 'k' },
      query: {},
      body: { data },
      idempotencyKey: undefined,
    }),
    refused('unauthenticated'),
  );
  assert.ok(use !== undefined);
});

test('items of a batch are independent: one that fails says so', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'aes-256', purpose: 'encrypt' });
  const { ciphertext } = await keys.call('key.encrypt', 'k', { plaintext: data });
  const cut = Buffer.from(ciphertext, 'base64').subarray(1).toString('base64');
  const answer = await keys.call('key.decrypt.batch', 'k', {
    items: [{ ciphertext }, { ciphertext: cut }],
  });
  assert.deepEqual(answer.results[0], { version: 1, plaintext: data });
  const failed = answer.results[1]!;
  assert.equal('error' in failed && failed.error.code, 'invalid-ciphertext');
  await assert.rejects(
    keys.call('key.decrypt', 'k', { ciphertext: cut }),
    refused('invalid-ciphertext'),
  );
});

test('AES-GCM with random nonces is counted in reserved blocks, and ends before it is spent', async () => {
  await using keys = await open();
  const made = await keys.create({
    name: 'k',
    algorithm: 'aes-256',
    purpose: 'encrypt',
    schemes: ['aes-256-gcm'],
  });
  await keys.call('key.encrypt', 'k', { plaintext: data });
  const reserved = await keys.storage.db
    .selectFrom('key_version')
    .select('uses_reserved')
    .where('key_id', '=', made.id)
    .executeTakeFirstOrThrow();
  assert.equal(reserved.uses_reserved, 65_536);
  await keys.storage.commit({
    steps: [keys.keys.store.updateVersion(made.id, 1, { uses_reserved: 2 ** 32 - 65_535 })],
    entries: [],
  });
  await using restarted = await keys.restart();
  await assert.rejects(
    restarted.call('key.encrypt', 'k', { plaintext: data }),
    refused('key-usage-exhausted'),
  );
});

test('a key is not moved by its labels to where the caller may not touch it', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign', labels: { team: 'a' } });
  keys.rights.authorise = (_caller, _action, resource) => {
    if (resource.type === 'key' && resource.labels.team === 'b') {
      throw new KeyreeveError('forbidden', 'no');
    }
  };
  const moved = keys.call('key.update', 'k', { labels: { team: 'b' } });
  await assert.rejects(moved, refused('forbidden'));
  const kept = await keys.call('key.update', 'k', { labels: { team: 'a', stage: 'live' } });
  assert.equal(kept.labels.stage, 'live');
});

test('a KEM key with several versions wants to know which one encapsulated', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'ml-kem-768', purpose: 'encapsulate' });
  const sealed = await keys.call('key.encapsulate', 'k', {});
  const { ciphertext } = sealed;
  assert.equal((await keys.call('key.decapsulate', 'k', { ciphertext })).secret, sealed.secret);
  await keys.call('key.rotate', 'k', {});
  await assert.rejects(
    keys.call('key.decapsulate', 'k', { ciphertext }),
    refused('invalid-request'),
  );
  const opened = await keys.call('key.decapsulate', 'k', { ciphertext, version: 1 });
  assert.equal(opened.secret, sealed.secret);
});

test('nothing is used under a clock that cannot be trusted', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  keys.rights.requireClock = () => {
    throw new KeyreeveError('clock-unsafe', 'The clock is off.');
  };
  await assert.rejects(keys.call('key.sign', 'k', { data }), refused('clock-unsafe'));
});

test('after a restart everything is there, and keys open again', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'rsa-2048', purpose: 'sign' });
  const { signature } = await keys.call('key.sign', 'k', { data });
  await using restarted = await keys.restart();
  assert.equal((await restarted.call('key.verify', 'k', { data, signature })).valid, true);
  await restarted.call('key.sign', 'k', { data });
});

/** Keys of a test, closed at its end; `restart` opens the same folder again. */
async function open() {
  const first = await openTestKeys();
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    await first.close();
  };
  return Object.assign(first, {
    restart: async () => {
      await first.storage.close();
      first.close = async () => undefined;
      const again = await openTestKeys(first);
      again.clock.wall = first.clock.wall;
      return Object.assign(again, { [Symbol.asyncDispose]: again.close });
    },
    [Symbol.asyncDispose]: close,
  });
}
