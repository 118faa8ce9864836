import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { ErrorCode } from '../../../api/error-codes.ts';
import { requireProgram } from '../../../test/tools.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { requireLocalKey } from '../../crypto/crypto.ts';
import {
  baseAddress,
  freshKey,
  openTestCertificates,
  requestBy,
  temporaryFolder,
  verifyBy,
} from './certificates.fixture.ts';

const tls = { ca: 'ca/web', profile: 'tls-server' };
const is =
  (code: ErrorCode, part = '') =>
  (error: unknown) => {
    assert.ok(error instanceof KeyreeveError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.includes(part), error.message);
    return true;
  };

async function open(options: Parameters<typeof openTestCertificates>[0] = {}) {
  const test = await openTestCertificates(options);
  const root = await test.root('ca/root');
  const web = await test.below('ca/root', 'ca/web');
  return Object.assign(test, { rootPem: root.versions[0]!.certificate, web });
}

test('a request made by openssl becomes a certificate that openssl accepts', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const csr = requestBy(openssl, folder, {
    subject: '/C=DE/O=Example/CN=www.example.org',
    names: ['DNS:www.example.org', 'DNS:*.example.org', 'IP:192.0.2.1'],
  });
  const made = await ca.issue({ ...tls, csr });
  const said = verifyBy(
    openssl,
    folder,
    { root: ca.rootPem, below: made.chain, leaf: made.certificate! },
    ['-purpose', 'sslserver', '-verify_hostname', 'api.example.org'],
  );
  assert.match(said, /: OK/);
  const certificate = new X509Certificate(made.certificate!);
  assert.deepEqual(
    {
      ...made,
      id: '',
      chain: made.chain.split('BEGIN').length - 1,
      certificate: '',
      keyFingerprint: '',
      notBefore: '',
      notAfter: '',
    },
    {
      id: '',
      ca: 'ca/web',
      caVersion: 1,
      serial: certificate.serialNumber.toLowerCase(),
      subject: 'CN=www.example.org,O=Example,C=DE',
      names: ['dns:www.example.org', 'dns:*.example.org', 'ip:192.0.2.1'],
      profile: 'tls-server',
      state: 'valid',
      notBefore: '',
      notAfter: '',
      fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
      keyFingerprint: '',
      key: null,
      keyVersion: null,
      issuedAt: '2030-01-01T00:00:00.000Z',
      issuedBy: 'prn_test',
      revokedAt: null,
      reason: null,
      invalidFrom: null,
      certificate: '',
      chain: 1,
      notes: ['a note'],
    },
  );
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  assert.equal(made.keyFingerprint, createHash('sha256').update(spki).digest('hex'));
  assert.equal(Date.parse(made.notAfter), certificate.validToDate.getTime());
  assert.deepEqual(await ca.show(made.serial), without(made, ['chain', 'notes']));
});

test('the intent is on the record with the serial number before the outcome, and is settled', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const csr = requestBy(openssl, temporaryFolder(t), {});
  let seen: string | undefined;
  const signed = ca.keys.sign.bind(ca.keys);
  ca.keys.sign = async (...asked) => {
    const [intent] = await ca.intents();
    seen = intent?.payload_json;
    return signed(...asked);
  };
  const epoch = ca.storage.epoch;
  const made = await ca.issue({ ...tls, csr });
  assert.equal(ca.storage.epoch, epoch, 'issuing drops no caches');
  const payload = JSON.parse(seen!) as { certificates: { serial: string; tbs: string }[] };
  assert.equal(payload.certificates[0]!.serial, made.serial);
  assert.ok(
    new X509Certificate(made.certificate!).raw.includes(
      Buffer.from(payload.certificates[0]!.tbs, 'base64'),
    ),
  );
  assert.deepEqual(await ca.intents(), []);
  const [intent, outcome] = (await ca.entries()).slice(-2);
  const about = {
    action: 'certificate.issue',
    outcome: 'ok',
    resource: `certificate ${made.serial}`,
    keyId: ca.web.id,
    keyName: 'ca/web',
    intentId: intent!.intentId,
  };
  assert.deepEqual({ ...intent, ...about, kind: 'intent' }, intent);
  assert.deepEqual({ ...outcome, ...about, kind: 'outcome', keyVersion: '1' }, outcome);
  assert.deepEqual(JSON.parse(outcome!.detail!), {
    fingerprint: made.fingerprint,
    profile: 'tls-server',
    subject: '',
  });
});

test('the caller says subject, names and end in place of the request', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const csr = requestBy(openssl, temporaryFolder(t), { subject: '/CN=evil.example.com' });
  const made = await ca.issue({
    ...tls,
    csr,
    subject: 'CN=good.example.org,O=Example',
    names: ['dns:good.example.org'],
    notAfter: '2030-02-01T00:00:00Z',
  });
  assert.equal(made.subject, 'CN=good.example.org,O=Example');
  assert.deepEqual(made.names, ['dns:good.example.org']);
  assert.equal(made.notAfter, '2030-02-01T00:00:00.000Z');
  assert.match(new X509Certificate(made.certificate!).toString(), /BEGIN CERTIFICATE/);
});

test('a key of this installation is certified without a request', async () => {
  await using ca = await open();
  const key = await ca.create({ name: 'sign/app', algorithm: 'p-384', purpose: 'sign' });
  const body = { ca: 'ca/web', profile: 'code-signing', key: 'sign/app', subject: 'CN=App' };
  const made = await ca.issue(body);
  assert.deepEqual([made.key, made.keyVersion], ['sign/app', 1]);
  assert.equal(made.keyFingerprint, key.versions[0]!.fingerprint);
  await ca.create({ name: 'data', algorithm: 'aes-256', purpose: 'encrypt' });
  await assert.rejects(ca.issue({ ...body, key: 'data' }), is('purpose-not-allowed'));
  await assert.rejects(ca.issue({ ...body, key: 'nobody' }), is('not-found'));
  ca.rights.authorise = (_caller, action) => {
    if (action === 'key.show') throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(ca.issue(body), is('forbidden'));
  assert.equal((await ca.show(made.serial)).key, null, 'nor is its name shown');
});

test('requests are refused, each with its code', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const csr = requestBy(openssl, folder, {});
  const der = Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  der[der.length - 1]! ^= 1;
  const weak = requestBy(openssl, folder, {
    key: generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey,
  });
  const asCa = requestBy(openssl, folder, { extensions: ['basicConstraints=critical,CA:TRUE'] });
  const noNames = requestBy(openssl, folder, { names: [] });
  const cases: [object, ErrorCode][] = [
    [{ ...tls, csr: der.toString('base64') }, 'request-signature-invalid'],
    [{ ...tls, csr: 'AAAA' }, 'request-malformed'],
    [{ ...tls, csr: weak }, 'public-key-refused'],
    [{ ...tls, csr: asCa }, 'profile-not-allowed'],
    [{ ...tls, csr: noNames }, 'subject-not-allowed'],
    [{ ...tls, csr, names: ['dns:a b'] }, 'subject-not-allowed'],
    [{ ...tls, csr, subject: 'nonsense' }, 'subject-not-allowed'],
    [{ ...tls, csr, notAfter: '2060-01-01T00:00:00Z' }, 'validity-not-allowed'],
    [{ ...tls, csr, profile: 'root' }, 'profile-not-allowed'],
    [{ ...tls, csr, profile: 'cross' }, 'profile-not-allowed'],
    [{ ...tls, csr, profile: 'no-such' }, 'unknown-profile'],
    [{ ...tls, csr, ca: 'ca/none' }, 'not-found'],
    [tls, 'invalid-request'],
    [{ ...tls, csr, key: 'both' }, 'invalid-request'],
  ];
  const before = (await ca.rows()).length;
  for (const [body, code] of cases) {
    await assert.rejects(ca.issue(body), is(code), JSON.stringify(body).slice(0, 200));
    const last = (await ca.entries()).at(-1)!;
    assert.deepEqual([last.action, last.outcome], ['certificate.issue', code]);
  }
  assert.equal((await ca.rows()).length, before);
  assert.deepEqual(await ca.intents(), []);
});

test('names outside of the constraints and paths that are too long are refused', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  await ca.below('ca/root', 'ca/narrow', {
    pathLength: 0,
    nameConstraints: { permitted: ['dns:example.org'] },
  });
  const outside = requestBy(openssl, folder, { names: ['DNS:www.example.com'] });
  const inside = requestBy(openssl, folder, {});
  const narrow = { ca: 'ca/narrow', profile: 'tls-server' };
  await assert.rejects(ca.issue({ ...narrow, csr: outside }), is('subject-not-allowed'));
  await ca.issue({ ...narrow, csr: inside });
  const sub = requestBy(openssl, folder, { subject: '/CN=Sub', names: [] });
  await assert.rejects(
    ca.issue({ ca: 'ca/narrow', profile: 'intermediate', csr: sub }),
    is('path-length-exceeded'),
  );
});

test('to certify another CA takes more than to issue', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const csr = requestBy(openssl, folder, { subject: '/CN=Partner CA', names: [] });
  const body = { ca: 'ca/web', profile: 'intermediate', csr };
  ca.rights.authorise = (_caller, action) => {
    if (action === 'ca.certify') throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(ca.issue(body), is('forbidden'));
  ca.rights.authorise = () => undefined;
  const made = await ca.issue(body);
  const chain = { root: ca.rootPem, below: made.chain, leaf: made.certificate! };
  assert.match(verifyBy(openssl, folder, chain, ['-purpose', 'any']), /: OK/);
});

test('who may not issue learns nothing and leaves a refusal', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const csr = requestBy(openssl, temporaryFolder(t), {});
  ca.rights.authorise = (_caller, action) => {
    throw new KeyreeveError('forbidden', action);
  };
  await assert.rejects(ca.issue({ ...tls, csr }), is('forbidden'));
  await assert.rejects(ca.issue({ ...tls, ca: 'ca/none', csr }), is('forbidden'));
  assert.equal((await ca.entries()).at(-1)!.outcome, 'forbidden');
});

test('keys that are blocked, compromised, or held by another subject are refused', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const folder = temporaryFolder(t);
  const key = freshKey();
  const first = requestBy(openssl, folder, { key, subject: '/CN=www.example.org' });
  const other = requestBy(openssl, folder, {
    key,
    subject: '/CN=other.example.org',
    names: ['DNS:other.example.org'],
  });
  const made = await ca.issue({ ...tls, csr: first });
  await ca.issue({ ...tls, csr: first });
  await assert.rejects(
    ca.issue({ ...tls, csr: other }),
    is('public-key-refused', 'another subject'),
  );

  const blockedKey = freshKey();
  const blocked = requestBy(openssl, folder, { key: blockedKey });
  await ca.ask('certificate.block-key', { body: { key: blocked, reason: 'found on the street' } });
  await assert.rejects(ca.issue({ ...tls, csr: blocked }), is('public-key-refused', 'blocked'));

  const own = await ca.create({ name: 'sign/app', algorithm: 'p-256', purpose: 'sign' });
  const version = (await ca.keys.store.find(own.id))!.versions[0]!;
  const { privateKey } = await ca.keys.open(version);
  const leaked = requestBy(openssl, folder, { key: requireLocalKey(privateKey, 'sign a request') });
  await ca.call('key.state', 'sign/app', { version: 1, state: 'compromised' });
  await assert.rejects(ca.issue({ ...tls, csr: leaked }), is('public-key-refused', 'compromised'));
  assert.deepEqual(await ca.intents(), []);
  assert.equal((await ca.list({ serial: made.serial })).length, 1);
});

test('the key of a CA is not certified for another subject', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const version = (await ca.keys.store.find('ca/web'))!.versions[0]!;
  const { privateKey } = await ca.keys.open(version);
  const csr = requestBy(openssl, temporaryFolder(t), {
    key: requireLocalKey(privateKey, 'sign a request'),
  });
  await assert.rejects(ca.issue({ ...tls, csr }), is('public-key-refused', 'another subject'));
});

test('an idempotency key answers the same certificate again', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const csr = requestBy(openssl, temporaryFolder(t), {});
  const asked = { idempotencyKey: 'once' };
  const made = await ca.issue({ ...tls, csr }, asked);
  const rows = (await ca.rows()).length;
  assert.deepEqual(await ca.issue({ ...tls, csr }, asked), made);
  assert.equal((await ca.rows()).length, rows);
  await assert.rejects(
    ca.issue({ ...tls, csr, names: ['dns:x.example.org'] }, asked),
    is('idempotency-mismatch'),
  );
});

test('a CA whose certificate, or one above it, is revoked issues nothing', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  await ca.below('ca/web', 'ca/deep');
  const csr = requestBy(openssl, temporaryFolder(t), {});
  await ca.revoke(ca.web.versions[0]!.serial, { reason: 'cACompromise' });
  await assert.rejects(ca.issue({ ...tls, csr }), is('state-not-allowed'));
  await assert.rejects(
    ca.issue({ ...tls, ca: 'ca/deep', csr }),
    is('state-not-allowed', 'revoked'),
  );
});

for (const algorithm of ['rsa-3072', 'p-384', 'ed25519', 'ml-dsa-44']) {
  test(`a CA of ${algorithm} issues what Node verifies`, async () => {
    await using ca = await openTestCertificates();
    const root = await ca.root('root', { algorithm });
    await ca.create({ name: 'leaf', algorithm, purpose: 'sign' });
    const made = await ca.issue({
      ca: 'root',
      profile: 'tls-client',
      key: 'leaf',
      subject: 'CN=device',
    });
    const above = new X509Certificate(root.versions[0]!.certificate);
    assert.ok(new X509Certificate(made.certificate!).verify(above.publicKey));
    assert.equal(made.chain, '');
  });
}

test('certificates name the address of the CRL', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  const made = await ca.issue({ ...tls, csr: requestBy(openssl, temporaryFolder(t), {}) });
  const fingerprint = ca.web.versions[0]!.keyFingerprint.slice(0, 40);
  const address = `${baseAddress}/crl/${fingerprint}.crl`;
  assert.ok(new X509Certificate(made.certificate!).raw.includes(Buffer.from(address)));
});

function without(value: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
}
