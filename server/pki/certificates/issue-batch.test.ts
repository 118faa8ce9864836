import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import {
  freshKey,
  openTestCertificates,
  requestBy,
  temporaryFolder,
} from './certificates.fixture.ts';

const tls = { ca: 'web', profile: 'tls-server' };
type Answer = { certificate: { serial: string; names: string[] } } | { error: { code: string } };

async function open() {
  const ca = await openTestCertificates();
  await ca.root('web');
  await ca.root('other');
  const batch = async (items: readonly object[], idempotencyKey?: string) => {
    const asked = { body: { items }, ...(idempotencyKey === undefined ? {} : { idempotencyKey }) };
    const { items: answers } = await ca.ask('certificate.issue.batch', asked);
    return answers as Answer[];
  };
  return Object.assign(ca, { batch });
}

function codes(answers: readonly Answer[]): string[] {
  return answers.map((answer) => ('error' in answer ? answer.error.code : 'ok'));
}

test('each item of a batch has its own outcome, in the order of the list', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const key = freshKey();
  const good = requestBy(openssl, folder, { key });
  const blocked = requestBy(openssl, folder, {});
  await ca.ask('certificate.block-key', { body: { key: blocked, reason: 'weak' } });
  const taken = freshKey();
  await ca.issue({
    ...tls,
    csr: requestBy(openssl, folder, { key: taken, subject: '/CN=first', names: ['DNS:first'] }),
  });
  const entriesBefore = (await ca.entries()).length;
  let writes = 0;
  const restore = ca.intercept(() => {
    writes += 1;
  });
  const answers = await ca.batch([
    { ...tls, csr: good },
    { ...tls, csr: 'AAAA' },
    { ...tls, csr: blocked },
    { ...tls, csr: requestBy(openssl, folder, { key: taken }) },
    { ...tls, csr: requestBy(openssl, folder, {}), ca: 'nobody' },
    { ...tls, csr: good, profile: 'root' },
    // The same key for another subject, within the batch.
    { ...tls, csr: good, names: ['dns:x.example.org'], subject: 'CN=x.example.org' },
    { ...tls, csr: requestBy(openssl, folder, { names: ['DNS:b.example.org'] }), ca: 'other' },
    { ...tls, csr: good },
  ]);
  restore();
  assert.deepEqual(codes(answers), [
    'ok',
    'request-malformed',
    'public-key-refused',
    'public-key-refused',
    'not-found',
    'profile-not-allowed',
    'public-key-refused',
    'ok',
    'ok',
  ]);
  assert.equal(writes, 3, 'one intent, one without the refused keys, and one outcome for all');
  const [first] = answers;
  assert.ok(first !== undefined && 'certificate' in first);
  assert.equal((await ca.show(first.certificate.serial)).state, 'valid');
  const entries = await ca.entries();
  assert.equal(entries.length, entriesBefore + 2, 'what was refused left no trace');
  const [intent, outcome] = entries.slice(-2);
  assert.deepEqual([intent!.kind, outcome!.kind, outcome!.count], ['intent', 'outcome', '9']);
  const detail = JSON.parse(outcome!.detail!);
  assert.equal(detail.certificates.length, 3);
  assert.equal(detail.certificates[0].serial, first.certificate.serial);
  assert.deepEqual(detail.refused, {
    'request-malformed': 1,
    'public-key-refused': 3,
    'not-found': 1,
    'profile-not-allowed': 1,
  });
  assert.deepEqual(await ca.intents(), []);
});

test('a batch of which nothing may be issued writes no intent', async () => {
  await using ca = await open();
  const answers = await ca.batch([{ ...tls, csr: 'AAAA' }]);
  assert.deepEqual(codes(answers), ['request-malformed']);
  assert.equal((await ca.entries()).at(-1)!.kind, 'outcome');
  await assert.rejects(ca.batch([{ ...tls, ca: 'nobody', csr: 'AAAA' }]), (error) =>
    isKeyreeveError(error, 'not-found'),
  );
});

test('rights are asked for each CA of a batch', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const csr = requestBy(openssl, folder, {});
  ca.rights.authorise = (_caller, _action, resource) => {
    if (resource.type === 'key' && resource.name === 'other') {
      throw new KeyreeveError('forbidden', 'not on this one');
    }
  };
  const answers = await ca.batch([
    { ...tls, csr, ca: 'other' },
    { ...tls, csr },
  ]);
  assert.deepEqual(codes(answers), ['forbidden', 'ok']);
  await assert.rejects(ca.batch([{ ...tls, csr, ca: 'other' }]), (error) =>
    isKeyreeveError(error, 'forbidden'),
  );
});

test('where the one write fails all of the batch fails, and what was signed is revoked', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const items = [0, 1, 2].map((index) => ({
    ...tls,
    csr: requestBy(openssl, folder, { names: [`DNS:host${index}.example.org`] }),
  }));
  let failed = false;
  ca.intercept((write) => {
    const stores = write.steps.some(({ query }) =>
      query.sql.startsWith('insert into "certificate"'),
    );
    if (stores && !failed) {
      failed = true;
      throw new KeyreeveError('conflict', 'the CA was changed');
    }
  });
  await assert.rejects(ca.batch(items), (error) => isKeyreeveError(error, 'conflict'));
  const revoked = (await ca.rows()).filter((row) => row.reason === 'unspecified');
  assert.equal(revoked.length, 3);
  assert.deepEqual(await ca.intents(), []);
});

test('a crash in a batch leaves revoked rows for all of it', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const items = [0, 1].map((index) => ({
    ...tls,
    csr: requestBy(openssl, folder, { names: [`DNS:host${index}.example.org`] }),
  }));
  const crash = new KeyreeveError('outcome-unknown', 'the disk did not answer');
  const restore = ca.intercept((write) => {
    if (write.steps.some(({ query }) => query.sql.startsWith('insert into "certificate"'))) {
      throw crash;
    }
  });
  await assert.rejects(ca.batch(items), crash);
  restore();
  assert.equal(await ca.settle(), 1);
  assert.equal((await ca.rows()).filter((row) => row.reason === 'unspecified').length, 2);
});

test('an item whose signature fails fails alone', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const items = [0, 1, 2].map((index) => ({
    ...tls,
    csr: requestBy(openssl, folder, { names: [`DNS:host${index}.example.org`] }),
  }));
  const sign = ca.keys.sign.bind(ca.keys);
  ca.keys.sign = async (version, scheme, data) => {
    if (Buffer.from(data).includes('host1')) {
      throw new KeyreeveError('keystore-unavailable', 'the token is gone');
    }
    return sign(version, scheme, data);
  };
  assert.deepEqual(codes(await ca.batch(items)), ['ok', 'keystore-unavailable', 'ok']);
  assert.deepEqual(await ca.intents(), []);
});

test('batches that hold the same keys in another order do not wait for each other for ever', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const items = [0, 1, 2, 3].map((index) => ({
    ...tls,
    csr: requestBy(openssl, folder, { names: [`DNS:host${index}.example.org`] }),
  }));
  const all = await Promise.all([ca.batch(items), ca.batch([...items].reverse()), ca.batch(items)]);
  assert.deepEqual(all.flatMap(codes), new Array(12).fill('ok'));
});

test('an idempotency key answers the same batch again', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const items = [{ ...tls, csr: requestBy(openssl, temporaryFolder(t), {}) }];
  const first = await ca.batch(items, 'once');
  assert.deepEqual(await ca.batch(items, 'once'), first);
});

test('the entry of a full batch with long subjects keeps within its limit', async () => {
  await using ca = await open();
  await ca.create({ name: 'sign', algorithm: 'p-256', purpose: 'sign' });
  const parts = Array.from({ length: 10 }, (_, index) => `OU=${index}${'\u00e4'.repeat(60)}`);
  const item = {
    ca: 'web',
    profile: 'code-signing',
    key: 'sign',
    subject: ['CN=app', ...parts].join(','),
  };
  const answers = await ca.batch(new Array(100).fill(item));
  assert.deepEqual(codes(answers), new Array(100).fill('ok'));
  const detail = JSON.parse((await ca.entries()).at(-1)!.detail!);
  assert.equal(detail.certificates.length, 100);
  assert.equal(detail.certificates[0].subject, undefined);
});
