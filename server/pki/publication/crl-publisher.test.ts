import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../../test/eventually.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { neverMilliseconds } from './crl-timing.ts';
import { openTestPublication, serialsOf } from './publication.fixture.ts';

const day = 86_400;
const noCrl = { code: 'crl-unavailable' };

test('a new CA publishes an empty CRL within a round, numbered 1, and the record has it', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  await assert.rejects(ca.crl('ca'), noCrl);
  await ca.round();
  const crl = await ca.crl('ca');
  const authority = (await ca.authorities.find('ca'))!;
  const { certificate } = authority.versions[0]!;
  assert.equal(crl.number, 1n);
  assert.equal(crl.entries.length, 0);
  assert.deepEqual(crl.issuer, certificate.subject);
  assert.deepEqual(crl.authorityKeyId, certificate.extensions.subjectKeyId);
  assert.equal(crl.thisUpdate, ca.clock.now());
  assert.equal(crl.nextUpdate, ca.clock.now() + 7 * day * 1000);
  const state = await ca.state('ca');
  assert.deepEqual(state, {
    crl_number: 1,
    crl_due_at: ca.clock.now() + day * 1000,
    crl_published_at: ca.clock.now(),
  });
  const entry = (await ca.entries()).at(-1)!;
  assert.equal(entry.kind, 'event');
  assert.equal(entry.action, 'crl.publish');
  assert.equal(entry.keyName, 'ca');
  assert.equal(entry.keyVersion, '1');
  assert.deepEqual(JSON.parse(entry.detail!), { entries: 0, isLast: false, number: 1 });
  await ca.round();
  assert.equal((await ca.crl('ca')).number, 1n);
});

test('a revocation is published at once, and at most once in five seconds', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  const serials = await Promise.all([ca.issued('ca'), ca.issued('ca'), ca.issued('ca')]);
  await ca.round();
  ca.clock.advance(5);
  await ca.revoke(serials[0], { reason: 'keyCompromise', invalidFrom: '2029-12-01T00:00:00.500Z' });
  await ca.round();
  const second = await ca.crl('ca');
  assert.equal(second.number, 2n);
  assert.deepEqual(serialsOf(second), [serials[0]]);
  const [entry] = second.entries;
  assert.equal(entry!.reason, 'keyCompromise');
  assert.equal(entry!.revokedAt, ca.clock.now());
  assert.equal(entry!.invalidFrom, Date.UTC(2029, 11, 1));

  ca.clock.advance(1);
  await ca.revoke(serials[1]);
  await ca.round();
  ca.clock.advance(3);
  await ca.revoke(serials[2], { reason: 'certificateHold' });
  await ca.round();
  assert.equal((await ca.crl('ca')).number, 2n);
  ca.clock.advance(1);
  await ca.round();
  const third = await ca.crl('ca');
  assert.equal(third.number, 3n);
  assert.deepEqual(serialsOf(third), [...serials].sort());

  ca.clock.advance(60);
  await ca.ask('certificate.release', { params: { serial: serials[2] } });
  await ca.round();
  const fourth = await ca.crl('ca');
  assert.equal(fourth.number, 4n);
  assert.deepEqual(serialsOf(fourth), serials.slice(0, 2).sort());
});

test('where nothing is revoked a CRL comes when its interval is over', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca', { settings: { crlEverySeconds: 3600, crlValiditySeconds: 7200 } });
  await ca.round();
  const first = await ca.crl('ca');
  ca.clock.advance(3599);
  await ca.round();
  assert.equal((await ca.crl('ca')).number, 1n);
  ca.clock.advance(1);
  await ca.round();
  const second = await ca.crl('ca');
  assert.equal(second.number, 2n);
  assert.equal(second.thisUpdate, first.thisUpdate + 3_600_000);
  assert.equal(second.nextUpdate, second.thisUpdate + 7_200_000);
});

test('a revoked certificate stays until one CRL after its end has named it', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  const serial = await ca.issued('ca', { validitySeconds: 2 * day });
  await ca.revoke(serial);
  await ca.round();
  const numbers: string[] = [];
  for (let count = 0; count < 4; count++) {
    numbers.push(serialsOf(await ca.crl('ca')).join());
    ca.clock.advance(day);
    await ca.round();
  }
  // On the day of its end, which the third CRL is made at, and not on the one after.
  assert.deepEqual(numbers, [serial, serial, serial, '']);
});

test('what is revoked while a CRL is being signed makes the next one due', async (t) => {
  let between: () => Promise<unknown> = async () => undefined;
  const ca = await openTestPublication(t, {
    signing:
      (sign) =>
      async (...asked) => {
        await between();
        return sign(...asked);
      },
  });
  await ca.root('ca');
  const serials = await Promise.all([ca.issued('ca'), ca.issued('ca')]);
  await ca.revoke(serials[0]);
  between = async () => {
    between = async () => undefined;
    await ca.revoke(serials[1]);
  };
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serials[0]]);
  const { crl_due_at } = await ca.state('ca');
  assert.equal(crl_due_at, ca.clock.now() + 5000);
  ca.clock.advance(5);
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [...serials].sort());
});

test('a CA that cannot sign is logged once, asked again later, and holds no other up', async (t) => {
  let isAway = true;
  const names = new Map<string, string>();
  const tried: string[] = [];
  const ca = await openTestPublication(t, {
    signing: (sign) => async (version, scheme, data) => {
      const name = names.get(version.keyId)!;
      tried.push(name);
      if (name === 'away' && isAway) {
        throw new KeyreeveError('keystore-unavailable', 'The token is not there.');
      }
      return sign(version, scheme, data);
    },
  });
  for (const name of ['away', 'here']) names.set((await ca.root(name)).id, name);
  await ca.round();
  assert.equal((await ca.crl('here')).number, 1n);
  await assert.rejects(ca.crl('away'), noCrl);
  const [problem] = (await ca.publication.state()).problems;
  assert.equal(problem!.code, 'keystore-unavailable');
  assert.equal(problem!.reason, 'The token is not there.');
  assert.equal((await ca.state('away')).crl_due_at, ca.clock.now());

  const attempts = () => tried.filter((name) => name === 'away').length;
  assert.equal(attempts(), 1);
  for (const [seconds, expected] of [
    [4, 1],
    [1, 2],
    [9, 2],
    [1, 3],
  ] as const) {
    ca.clock.advance(seconds);
    await ca.round();
    assert.equal(attempts(), expected);
  }
  assert.equal(ca.logged.filter(({ message }) => message === 'a CRL is not published').length, 1);
  ca.clock.advance(60);
  assert.equal((await ca.publication.state()).overdue, 1);
  isAway = false;
  await ca.round();
  assert.equal((await ca.crl('away')).number, 1n);
  assert.deepEqual((await ca.publication.state()).problems, []);
  assert.equal((await ca.publication.state()).overdue, 0);
  assert.equal(ca.logged.at(-1)!.message, 'the CRL is published again');
});

test('a suspended CA publishes nothing, and goes on as soon as it is active again', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  const serial = await ca.issued('ca');
  await ca.round();
  ca.clock.advance(10);
  await ca.revoke(serial);
  await ca.call('key.state', 'ca', { version: 1, state: 'suspended' });
  await ca.round();
  assert.equal((await ca.crl('ca')).number, 1n);
  assert.equal((await ca.publication.state()).problems[0]!.code, 'state-not-allowed');
  await ca.call('key.state', 'ca', { version: 1, state: 'active' });
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serial]);
});

test('a signature that does not verify is not published', async (t) => {
  let isBroken = true;
  const ca = await openTestPublication(t, {
    signing: (sign) => async (version, scheme, data) =>
      sign(version, scheme, isBroken ? Buffer.concat([data, Buffer.of(0)]) : data),
  });
  await ca.root('ca');
  await ca.round();
  await assert.rejects(ca.crl('ca'), noCrl);
  assert.equal((await ca.publication.state()).problems[0]!.code, 'integrity-failed');
  isBroken = false;
  ca.clock.advance(5);
  await ca.round();
  assert.equal((await ca.crl('ca')).number, 1n);
});

test('after a re-key both versions publish what the CA has revoked, with numbers of their own', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('root', { validitySeconds: 10 * day });
  const old = await ca.issued('root', { validitySeconds: 3 * day });
  await ca.round();
  await ca.round();
  await ca.ask('ca.rekey', { params: { ca: 'root' } });
  const young = await ca.issued('root', { validitySeconds: 3 * day });
  ca.clock.advance(10);
  await ca.revoke(old);
  await ca.revoke(young);
  await ca.round();
  const first = await ca.crl('root', { version: '1' });
  const second = await ca.crl('root', { version: '2' });
  // Who checks by the name of the issuer takes either: both have to be whole.
  assert.deepEqual(serialsOf(first), [old, young].sort());
  assert.deepEqual(serialsOf(second), [old, young].sort());
  assert.equal(first.number, 2n);
  assert.equal(second.number, 1n);
  assert.deepEqual((await ca.crl('root')).der, second.der);
  assert.notDeepEqual(first.authorityKeyId, second.authorityKeyId);
  assert.deepEqual(first.issuer, second.issuer);
});

test('a retired version ends with a last CRL; that of the last version of a CA has no end', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('root');
  await ca.below('root', 'below', { validitySeconds: 20 * day });
  const serial = await ca.issued('below', { validitySeconds: 2 * day });
  await ca.revoke(serial);
  await ca.round();
  await ca.ask('ca.rekey', { params: { ca: 'below' } });
  ca.clock.advance(day);
  await ca.round();
  assert.notEqual((await ca.state('below')).crl_due_at, null);
  ca.clock.advance(day + 1);
  await ca.round();
  const last = await ca.crl('below', { version: '1' });
  // It ends as every other: a younger key has the CA's name too, and revokes.
  assert.equal(last.nextUpdate, last.thisUpdate + 7 * day * 1000);
  assert.deepEqual(serialsOf(last), [serial]);
  assert.equal((await ca.state('below')).crl_due_at, null);
  ca.clock.advance(day);
  await ca.round();
  assert.equal((await ca.crl('below', { version: '1' })).number, last.number);

  await ca.call('key.state', 'below', { version: 2, state: 'deactivated' });
  ca.clock.advance(2 * day);
  await ca.round();
  assert.equal((await ca.crl('below', { version: '2' })).nextUpdate, neverMilliseconds);
  assert.equal((await ca.state('below', 2)).crl_due_at, null);
});

test('what a crash left of a CRL is made at the next start, though the claim is in force', async (t) => {
  let isCrashed = false;
  const ca = await openTestPublication(t, {
    signing:
      (sign) =>
      async (...asked) => {
        if (isCrashed) throw new KeyreeveError('outcome-unknown', 'the process died here');
        return sign(...asked);
      },
  });
  await ca.root('ca');
  const serial = await ca.issued('ca');
  await ca.round();
  ca.clock.advance(10);
  await ca.revoke(serial);
  isCrashed = true;
  // Nothing is written after the claim.
  let claims = 0;
  const restore = ca.intercept(() => {
    if (claims++ > 0) throw new KeyreeveError('storage-unavailable', 'the process died here');
  });
  await ca.round();
  restore();
  isCrashed = false;
  assert.equal((await ca.state('ca')).crl_due_at, ca.clock.now() + 120_000);
  await ca.publication.cutShort(() => false);
  assert.equal((await ca.state('ca')).crl_due_at, ca.clock.now() + 120_000);
  await ca.publication.cutShort((nodeId) => nodeId === ca.storage.nodeId);
  assert.equal((await ca.state('ca')).crl_due_at, ca.clock.now());
  ca.clock.advance(5);
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serial]);
});

test('a keystore that hangs holds up no other CA, nor a stop for long', async (t) => {
  let release: () => void = () => undefined;
  const hanging = new Promise<void>((resolve) => {
    release = resolve;
  });
  let hangingId = '';
  const ca = await openTestPublication(t, {
    signing: (sign) => async (version, scheme, data) => {
      if (version.keyId === hangingId) await hanging;
      return sign(version, scheme, data);
    },
  });
  hangingId = (await ca.root('hanging')).id;
  await ca.publication.publishDue();
  await ca.root('here');
  await ca.publication.publishDue();
  await eventually(async () => (await ca.crl('here').catch(() => undefined)) !== undefined);
  ca.clock.advance(86_400);
  await ca.publication.publishDue();
  await eventually(async () => (await ca.crl('here')).number === 2n);
  const begun = performance.now();
  await ca.publication.stop();
  assert.ok(performance.now() - begun < 7000);
  release();
  await eventually(async () => (await ca.state('hanging')).crl_number === 1);
});

test('a CA that is renewed after its end publishes again', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca', { validitySeconds: 10 * day });
  ca.clock.advance(10 * day + 1);
  await ca.round();
  // It may be renewed: no CRL without an end.
  assert.equal((await ca.crl('ca')).nextUpdate, ca.clock.now() + 7 * day * 1000);
  assert.equal((await ca.state('ca')).crl_due_at, null);
  ca.clock.advance(day);
  await ca.round();
  await ca.ask('ca.renew', { params: { ca: 'ca' }, body: { validitySeconds: 10 * day } });
  await ca.round();
  await ca.round();
  const again = await ca.crl('ca');
  assert.equal(again.number, 2n);
  assert.equal(again.nextUpdate, ca.clock.now() + 7 * day * 1000);
});

test('while the clock cannot be trusted nothing is published', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  ca.clocked.isUnsafe = true;
  await ca.round();
  await assert.rejects(ca.crl('ca'), noCrl);
  ca.clocked.isUnsafe = false;
  await ca.round();
  assert.equal((await ca.crl('ca')).number, 1n);
});

test('the newest five CRLs of a version are kept', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca', { settings: { crlEverySeconds: 60, crlValiditySeconds: 600 } });
  for (let count = 0; count < 7; count++) {
    await ca.round();
    ca.clock.advance(60);
  }
  const rows = await ca.storage.db.selectFrom('crl').select('number').orderBy('number').execute();
  assert.deepEqual(
    rows.map(({ number }) => number),
    [3, 4, 5, 6, 7],
  );
});
