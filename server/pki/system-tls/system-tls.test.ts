import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  createCipheriv,
  createDecipheriv,
  generateKeyPairSync,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { isKeyreeveError } from '../../base/errors.ts';
import { certificateNames, openSystemTls } from './system-tls.ts';
import type { TlsSealer } from './tls-store.ts';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'keyreeve-tls-'));
after(() => rmSync(folder, { recursive: true }));

const dayMilliseconds = 86_400_000;
const hourMilliseconds = 3_600_000;
const caKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const names = certificateNames({
  listen: '0.0.0.0',
  hostname: 'Keys-1',
  configured: ['keys.example.org', '192.0.2.7', '2001:DB8::7'],
});
const clock = { time: Date.now(), now: () => clock.time, monotonic: () => clock.time };
let folders = 0;

function newFolder(): string {
  return join(folder, `tls-${++folders}`);
}

function newSealer(): TlsSealer {
  const key = randomBytes(32);
  return {
    seal(label, bytes) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(label));
      return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    },
    unseal(label, sealed) {
      const bytes = Buffer.from(sealed);
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
      decipher.setAAD(Buffer.from(label)).setAuthTag(bytes.subarray(-16));
      return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
    },
  };
}

const sealer = newSealer();

function open(at: string, changes: Partial<Parameters<typeof openSystemTls>[0]> = {}) {
  return openSystemTls({ folder: at, caKey: async () => caKey, sealer, names, clock, ...changes });
}

test('openssl accepts the chain, for every name, and refuses another name', async () => {
  const at = newFolder();
  await open(at);
  const files = ['-CAfile', join(at, 'ca.pem'), join(at, 'server.pem')];
  const strict = ['verify', '-x509_strict', '-purpose', 'sslserver'];
  for (const check of [
    ['-verify_hostname', 'localhost'],
    ['-verify_hostname', 'keys-1'],
    ['-verify_hostname', 'keys.example.org'],
    ['-verify_ip', '127.0.0.1'],
    ['-verify_ip', '::1'],
    ['-verify_ip', '192.0.2.7'],
    ['-verify_ip', '2001:db8::7'],
  ]) {
    const { stdout } = await run('openssl', [...strict, ...check, ...files]);
    assert.match(stdout, /server\.pem: OK/);
  }
  await assert.rejects(run('openssl', [...strict, '-verify_hostname', 'other.example', ...files]));
});

test('openssl shows the certificates as they are meant to be', async () => {
  const at = newFolder();
  await open(at);
  const print = async (file: string) =>
    (await run('openssl', ['x509', '-in', join(at, file), '-noout', '-text'])).stdout;
  const ca = await print('ca.pem');
  assert.match(ca, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
  assert.match(ca, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
  assert.match(ca, /Signature Algorithm: ecdsa-with-SHA256/);
  const server = await print('server.pem');
  // Whoever trusts this CA trusts it with servers alone.
  assert.match(ca, /Extended Key Usage:\s+TLS Web Server Authentication\n/);
  assert.match(server, /Basic Constraints:\s+CA:FALSE/);
  assert.match(server, /Key Usage: critical\s+Digital Signature\n/);
  assert.match(server, /Extended Key Usage:\s+TLS Web Server Authentication\n/);
  assert.match(server, /NIST CURVE: P-256/);
  const keyIds = /Key Identifier:\s+([0-9A-F:]+)/;
  assert.equal(keyIds.exec(ca)?.[1], /Authority Key Identifier:\s+([0-9A-F:]+)/.exec(server)?.[1]);
  const serials = [ca, server].map((text) => /Serial Number:\s+([0-9a-f:]+)/.exec(text)?.[1]);
  for (const serial of serials) assert.ok(serial!.split(':').length >= 14);
  assert.notEqual(serials[0], serials[1]);
});

test('openssl makes a TLS 1.3 connection and checks the chain', async () => {
  const tls = await open(newFolder());
  const caFile = join(folder, 'trusted.pem');
  writeFileSync(caFile, tls.caPem);
  const server = createServer(tls.options, (_, response) => response.end('served'));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const connecting = run('openssl', [
    ...['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', caFile, '-showcerts'],
    ...['-verify_return_error', '-verify_ip', '127.0.0.1', '-tls1_3', '-ign_eof'],
  ]);
  connecting.child.stdin!.end('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const { stdout } = await connecting;
  server.close();
  assert.match(stdout, /Verify return code: 0 \(ok\)/);
  assert.match(stdout, /served/);
  // The CA is sent along, so that a caller who knows the hash of its key can find it.
  assert.equal(stdout.match(/BEGIN CERTIFICATE/g)!.length >= 2, true);
});

test('the fingerprint is the SHA-256 of the CA’s public key, as openssl counts it', async () => {
  const at = newFolder();
  const tls = await open(at);
  const { stdout } = await run('sh', [
    '-c',
    'openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum',
    'sh',
    join(at, 'ca.pem'),
  ]);
  assert.equal(stdout.split(' ')[0], tls.caFingerprint);
});

test('a second start takes what is there', async () => {
  const at = newFolder();
  const first = await open(at);
  const second = await open(at);
  assert.deepEqual({ ...second.options }, { ...first.options });
  assert.equal(await second.renewIfDue(), false);
});

test('the server certificate is renewed when a third is left, and not before', async () => {
  const tls = await open(newFolder());
  const start = clock.time;
  try {
    const whole = tls.expiresAt - (start - hourMilliseconds);
    clock.time = tls.expiresAt - Math.floor(whole / 3) - 10_000;
    assert.equal(await tls.renewIfDue(), false);
    const { caPem, expiresAt } = tls;
    clock.time += 20_000;
    assert.equal(await tls.renewIfDue(), true);
    assert.equal(tls.caPem, caPem);
    assert.ok(tls.expiresAt > expiresAt);
  } finally {
    clock.time = start;
  }
});

test('the CA certificate is made again from the same key, so that pins hold', async () => {
  const at = newFolder();
  const first = await open(at);
  rmSync(join(at, 'ca.pem'));
  const second = await open(at);
  assert.notEqual(second.caPem, first.caPem);
  assert.equal(second.caFingerprint, first.caFingerprint);
  // The old certificate of the server still stands under the new one of the CA.
  assert.equal(
    second.options.cert.replace(second.caPem, ''),
    first.options.cert.replace(first.caPem, ''),
  );
  const start = clock.time;
  try {
    clock.time += 9 * 365 * dayMilliseconds;
    assert.equal(await second.renewIfDue(), true);
    assert.equal(second.caFingerprint, first.caFingerprint);
  } finally {
    clock.time = start;
  }
});

test('a clock that went back makes new certificates', async () => {
  const at = newFolder();
  const first = await open(at);
  const past = clock.time - 2 * hourMilliseconds;
  const second = await open(at, { clock: { now: () => past, monotonic: () => past } });
  assert.notEqual(second.options.cert, first.options.cert);
});

test('what is missing, damaged, foreign or for other names is made again', async () => {
  const at = newFolder();
  const server = () => new X509Certificate(readFileSync(join(at, 'server.pem'))).serialNumber;
  await open(at);
  for (const damage of [
    () => rmSync(join(at, 'server.pem')),
    () => rmSync(join(at, 'server.key.sealed')),
    () => writeFileSync(join(at, 'server.pem'), 'not a certificate'),
    () => writeFileSync(join(at, 'server.key.sealed'), randomBytes(200)),
    () => writeFileSync(join(at, 'server.pem'), readFileSync(join(at, 'ca.pem'))),
  ]) {
    damage();
    const tls = await open(at);
    assert.equal(new X509Certificate(tls.options.cert).serialNumber, server());
    assert.ok(new X509Certificate(tls.options.cert).verify(caKeyPublic()));
  }
  let before = server();
  await open(at, { sealer: newSealer() });
  assert.notEqual(server(), before);
  before = server();
  const more = certificateNames({ listen: '::1', hostname: 'x_y', configured: ['new.example'] });
  await open(at, { sealer: newSealer(), names: more });
  assert.match(
    new X509Certificate(readFileSync(join(at, 'server.pem'))).subjectAltName!,
    /new\.example/,
  );
  assert.notEqual(server(), before);
});

test('another key makes another CA', async () => {
  const at = newFolder();
  const first = await open(at);
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const second = await open(at, { caKey: async () => other });
  assert.notEqual(second.caFingerprint, first.caFingerprint);
  const [leaf] = second.options.cert.split(/(?<=END CERTIFICATE-----\n)/);
  assert.ok(new X509Certificate(leaf!).checkIssued(new X509Certificate(second.caPem)));
});

test('a key on another curve and a folder open to others are refused', async () => {
  const wrong = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
  await assert.rejects(
    open(newFolder(), { caKey: async () => wrong }),
    /not a private key on P-256/,
  );
  const at = newFolder();
  await open(at);
  chmodSync(at, 0o755);
  await assert.rejects(open(at), (error) => isKeyreeveError(error, 'lax-mode'));
});

test('the private key of the server is not on the disk in clear', async () => {
  const at = newFolder();
  const tls = await open(at);
  const der = Buffer.from(tls.options.key.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  for (const file of readdirSync(at)) {
    const bytes = readFileSync(join(at, file));
    assert.ok(!bytes.includes('PRIVATE KEY'), file);
    assert.ok(!bytes.includes(der.subarray(36, 68)), file);
  }
});

function caKeyPublic() {
  return new X509Certificate(readFileSync(join(folder, 'trusted.pem'))).publicKey;
}
