import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startSoftHsm } from '../../../test/softhsm.ts';
import { sign, verify } from '../../crypto/crypto.ts';
import { freshIdentity, openKeystore, stopKeystores } from './keystore.fixture.ts';

after(stopKeystores);

test('a key made in one token is taken in by another, and leaves neither again', async (t) => {
  const first = startSoftHsm(t);
  const second = first && startSoftHsm(t);
  if (first === undefined || second === undefined) return;
  t.after(async () => {
    await stopKeystores();
    first.remove();
    second.remove();
  });
  const from = openKeystore(first.uri);
  const to = openKeystore(second.uri, { name: 'other' });
  assert.ok(await from.transfer.isPossible('p-256'));
  assert.equal(await from.transfer.isPossible('ed25519'), false, 'SoftHSM wraps no such keys');
  for (const algorithm of ['rsa-2048', 'p-256', 'hmac-sha256'] as const) {
    const identity = freshIdentity(`moved/${algorithm}`);
    const target = await to.transfer.prepare(from.transfer);
    const { stored, wrapped } = await from.transfer.generate(identity, algorithm, target);
    const taken = await to.transfer.take(identity, wrapped);
    assert.equal(taken.fingerprint, stored.fingerprint, algorithm);
    const location = { ...identity, algorithm };
    const near = await from.open({ ...location, ...stored });
    const far = await to.open({ ...location, ...taken });
    if (near.publicKey === undefined) continue;
    const scheme = { 'rsa-2048': 'rsa-pss-sha256', 'p-256': 'ecdsa-sha256' }[
      algorithm as 'rsa-2048'
    ] as 'rsa-pss-sha256';
    const message = Buffer.from('the same key');
    const signature = await sign(scheme, far.privateKey, message);
    assert.ok(await verify(scheme, near.publicKey, message, signature), algorithm);
  }
  for (const keystore of [from, to]) {
    const keys = await keystore.list();
    assert.equal(keys.length, 3, 'nothing that the way needed is left');
    for (const key of keys) {
      assert.deepEqual([key.extractable, key.sensitive], [false, true], key.label);
    }
  }
  // What was made for one token opens in no other, and only once.
  const target = await to.transfer.prepare(from.transfer);
  const identity = freshIdentity('moved/twice');
  const { wrapped } = await from.transfer.generate(identity, 'p-256', target);
  await assert.rejects(from.transfer.take(freshIdentity('moved/back'), wrapped));
  await to.transfer.take(identity, wrapped);
  await assert.rejects(to.transfer.take(freshIdentity('moved/again'), wrapped));
});
