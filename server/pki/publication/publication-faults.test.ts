import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyreeveError } from '../../base/errors.ts';
import type { Write } from '../../storage/storage.ts';
import { openTestPublication, serialsOf } from './publication.fixture.ts';

type TestPublication = Awaited<ReturnType<typeof openTestPublication>>;

const storesCrl = ({ steps }: Write) =>
  steps.some(({ query }) => query.sql.startsWith('insert into "crl"'));

/** From now on a CRL is stored, and nobody is told. Returns what ends that. */
function outcomeUnknown({ storage }: TestPublication): () => void {
  const commit = storage.commit.bind(storage);
  let isHanging = false;
  storage.commit = async (write) => {
    if (isHanging) throw new KeyreeveError('storage-unavailable', 'The disk does not answer.');
    const done = await commit(write);
    if (!storesCrl(write)) return done;
    isHanging = true;
    throw new KeyreeveError('outcome-unknown', 'The disk did not answer in time.');
  };
  return () => {
    storage.commit = commit;
  };
}

test('a CRL that was stored by a write whose outcome was not known is served all the same', async (t) => {
  const ca = await openTestPublication(t, { waitSeconds: 1 });
  await ca.root('ca');
  const serial = await ca.issued('ca');
  await ca.round();
  ca.clock.advance(10);
  await ca.revoke(serial);
  const restore = outcomeUnknown(ca);
  await ca.round();
  assert.equal((await ca.state('ca')).crl_number, 2);
  restore();
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serial]);
  assert.deepEqual(serialsOf(await ca.crl('ca', { fresh: 'true' })), [serial]);
  assert.deepEqual((await ca.publication.state()).problems, []);
  const { keyFingerprint } = (await ca.ask('ca.show', { params: { ca: 'ca' } })).versions[0]!;
  const served = ca.publication.file(`/crl/${keyFingerprint.slice(0, 40)}.crl`);
  assert.match(served!.tag, /^2-/);
});

test('so is one that was made by a command', async (t) => {
  const ca = await openTestPublication(t, { waitSeconds: 1 });
  await ca.root('ca');
  await ca.round();
  ca.clock.advance(10);
  const restore = outcomeUnknown(ca);
  await assert.rejects(ca.publish('ca'), { code: 'outcome-unknown' });
  restore();
  await ca.round();
  assert.equal((await ca.crl('ca')).number, 2n);
  assert.equal((await ca.crl('ca', { fresh: 'true' })).number, 2n);
});

test('while nobody could write that a CRL failed, the one before does not pass for fresh', async (t) => {
  const ca = await openTestPublication(t, { waitSeconds: 1 });
  await ca.root('ca');
  const serial = await ca.issued('ca');
  await ca.round();
  ca.clock.advance(10);
  await ca.revoke(serial);
  let claims = 0;
  const restore = ca.intercept(() => {
    if (claims++ > 0) throw new KeyreeveError('storage-full', 'The disk is full.');
  });
  await assert.rejects(ca.publish('ca'), { code: 'storage-full' });
  await assert.rejects(ca.crl('ca', { fresh: 'true' }), { code: 'crl-unavailable' });
  restore();
  // The claim is over by then.
  ca.clock.advance(120);
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca', { fresh: 'true' })), [serial]);
});

test('what is revoked just before a command that fails is not forgotten', async (t) => {
  let isAway = false;
  const ca = await openTestPublication(t, {
    signing:
      (sign) =>
      async (...asked) => {
        if (isAway) throw new KeyreeveError('keystore-unavailable', 'The token is not plugged in.');
        return sign(...asked);
      },
  });
  await ca.root('ca');
  const serial = await ca.issued('ca');
  await ca.round();
  ca.clock.advance(10);
  isAway = true;
  let isFirst = true;
  // Between the look at the version and the claim.
  const restore = ca.intercept(async () => {
    if (!isFirst) return;
    isFirst = false;
    await ca.revoke(serial);
  });
  await assert.rejects(ca.publish('ca'), { code: 'keystore-unavailable' });
  restore();
  isAway = false;
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serial]);
});

test('a revocation is published at once where the clock went back behind the last CRL', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  const serial = await ca.issued('ca');
  ca.clock.advance(20);
  await ca.round();
  ca.clock.advance(-20);
  await ca.revoke(serial);
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serial]);
});
