import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { parseCrl } from '../../server/x509/x509.ts';
import { eventually } from '../eventually.ts';
import { rawRequests } from '../raw-request.ts';
import { makeInstallation, startLoggedIn, startService } from '../service.ts';

const base = 'http://pki.example.org/keys';
const { client, service, login } = await startLoggedIn({ after }, { KEYREEVE_PKI_URL: base });

/** What lies at an address of a certificate, behind the proxy that its base stands for. */
async function fetchPublic(address: string, init: RequestInit = {}) {
  assert.ok(address.startsWith(`${base}/`));
  const answer = await fetch(`${service.httpUrl}${address.slice(base.length)}`, init);
  return { answer, bytes: Buffer.from(await answer.arrayBuffer()) };
}

test('CRL and certificate of a CA are served by plain HTTP where its certificates say', async () => {
  const body = { name: 'public/root', subject: 'CN=Public Root', algorithm: 'p-256' };
  const made = await client.call('ca.create', { body });
  const [version] = made.versions;
  const crlAddress = version!.crlUrl!;
  assert.equal(crlAddress, `${base}/crl/${version!.keyFingerprint.slice(0, 40)}.crl`);
  await eventually(async () => (await fetchPublic(crlAddress)).answer.status === 200);
  const { answer, bytes } = await fetchPublic(crlAddress);
  assert.equal(answer.headers.get('content-type'), 'application/pkix-crl');
  const crl = parseCrl(bytes);
  assert.equal(crl.number, 1n);
  assert.equal(answer.headers.get('expires'), new Date(crl.nextUpdate!).toUTCString());
  const known = { 'If-None-Match': answer.headers.get('etag')! };
  assert.equal((await fetchPublic(crlAddress, { headers: known })).answer.status, 304);

  const certificate = await fetchPublic(`${base}/ca/${version!.keyFingerprint.slice(0, 40)}.crt`);
  assert.equal(certificate.answer.headers.get('content-type'), 'application/pkix-cert');
  const pem = version!.certificate.replace(/-----[^-]+-----|\s/g, '');
  assert.equal(certificate.bytes.toString('base64'), pem);

  const view = await client.call('crl.publish', { params: { ca: 'public/root' }, body: {} });
  // A moment ago one was published, and nothing was revoked since: that one is the newest.
  assert.equal(view.number, 1);
  for (const path of ['/', '/api/v1/status', '/healthz', '/metrics', '/openapi.json']) {
    assert.equal((await fetch(`${service.httpUrl}${path}`)).status, 404, path);
  }
});

test('a renewed certificate takes the place of the one before', async () => {
  const body = { name: 'public/renewed', subject: 'CN=Renewed', algorithm: 'p-256' };
  const made = await client.call('ca.create', { body });
  const address = `${base}/ca/${made.versions[0]!.keyFingerprint.slice(0, 40)}.crt`;
  await eventually(async () => (await fetchPublic(address)).answer.status === 200);
  const before = (await fetchPublic(address)).bytes;
  await client.call('ca.renew', { params: { ca: 'public/renewed' }, body: {} });
  await eventually(async () => !(await fetchPublic(address)).bytes.equals(before));
});

test('status says when the next CRL is due and where public files are served', async () => {
  const status = await client.call('status');
  assert.equal(status.publication.url, service.httpUrl);
  assert.equal(status.publication.base, base);
  assert.equal(status.publication.overdue, 0);
  assert.deepEqual(status.publication.problems, []);
  assert.ok(Date.parse(status.publication.nextDueAt!) > Date.now());
});

test('metrics count authorities and certificates', async (t) => {
  const ask = rawRequests(t, service.url, login.caPem);
  const { status, text } = await ask('GET', '/metrics', { token: login.token });
  assert.equal(status, 200);
  assert.match(text, /^keyreeve_authorities [1-9]/m);
  assert.match(text, /^keyreeve_certificates\{state="valid"\} [1-9]/m);
  assert.match(text, /^keyreeve_certificates\{state="revoked"\} 0$/m);
  assert.match(text, /^keyreeve_crls_overdue 0$/m);
});

test('plain HTTP can be off; a port that is taken stops the start and names its setting', async (t) => {
  const installation = makeInstallation(t, { KEYREEVE_HTTP_PORT: 'off' });
  const quiet = await startService(t, installation);
  assert.equal(quiet.httpUrl, undefined);
  assert.doesNotMatch(quiet.output(), /public files/);
  assert.equal(await quiet.stop(), 0);

  const other = createServer();
  t.after(() => other.close());
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  await assert.rejects(
    startService(t, installation, { KEYREEVE_HTTP_PORT: String(port) }),
    /\(config-invalid\)\nhint: .*KEYREEVE_HTTP_PORT/,
  );
});
