import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { isKeyreeveError } from '../server/base/errors.ts';
import { json, makeCa, makeLeaf, startHttpsService } from '../test/doubles/https-service.ts';
import { certificatePin, fetchPinnedCa, findPinnedCa } from './pin.ts';

const untrusted = (error: unknown) => isKeyreeveError(error, 'tls-untrusted');

test('the CA that the pin names is fetched, and nothing is sent meanwhile', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  const pin = certificatePin(new X509Certificate(service.ca.pem));
  const pem = await fetchPinnedCa(service.url, pin);
  assert.equal(
    new X509Certificate(pem).fingerprint256,
    new X509Certificate(service.ca.pem).fingerprint256,
  );
  assert.equal(service.requests.length, 0);
});

test('a service with another CA is refused', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  const other = makeCa();
  await assert.rejects(
    fetchPinnedCa(service.url, certificatePin(new X509Certificate(other.pem))),
    untrusted,
  );
});

test('the pinned CA beside a certificate that another one signed is refused', async () => {
  const [real, impostor] = [makeCa(), makeCa()];
  const leaf = makeLeaf(impostor);
  const ca = new X509Certificate(real.pem);
  assert.throws(
    () => findPinnedCa([leaf.x509, ca], certificatePin(ca), '127.0.0.1', new Date()),
    untrusted,
  );
});

test('a pinned certificate that is no CA is refused', async () => {
  const ca = makeCa();
  const leaf = makeLeaf(ca);
  assert.throws(
    () => findPinnedCa([leaf.x509], certificatePin(leaf.x509), '127.0.0.1', new Date()),
    untrusted,
  );
});

test('the CA itself in place of the certificate of the service is refused', async () => {
  const ca = new X509Certificate(makeCa().pem);
  assert.throws(() => findPinnedCa([ca], certificatePin(ca), '127.0.0.1', new Date()), untrusted);
});

test('a certificate for another host, or out of its time, is refused', async () => {
  const made = makeCa();
  const ca = new X509Certificate(made.pem);
  const pin = certificatePin(ca);
  const chain = [makeLeaf(made).x509, ca];
  assert.ok(findPinnedCa(chain, pin, 'localhost', new Date()));
  assert.ok(findPinnedCa(chain, pin, '127.0.0.1', new Date()));
  assert.throws(() => findPinnedCa(chain, pin, '127.0.0.2', new Date()), untrusted);
  assert.throws(() => findPinnedCa(chain, pin, 'example.org', new Date()), untrusted);
  assert.throws(
    () => findPinnedCa(chain, pin, 'localhost', new Date(Date.now() + 3 * 86_400_000)),
    untrusted,
  );
});

test('where nothing listens the error says so', async () => {
  await assert.rejects(fetchPinnedCa('https://127.0.0.1:1', Buffer.alloc(32)), (error) =>
    isKeyreeveError(error, 'unreachable'),
  );
});

test('half of the hash is a pin, and less is not', () => {
  const made = makeCa();
  const chain = [makeLeaf(made).x509, made.x509];
  const pin = certificatePin(made.x509);
  assert.ok(findPinnedCa(chain, pin.subarray(0, 16), 'localhost', new Date()));
  for (const bad of [pin.subarray(0, 15), Buffer.alloc(0), Buffer.concat([pin, pin])]) {
    assert.throws(() => findPinnedCa(chain, bad, 'localhost', new Date()), untrusted);
  }
});
