import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import type { StreamAnswer } from '../../base/handler.ts';
import { newTimedId } from '../../base/ids.ts';
import type { Gate } from '../../commands/commands.ts';
import { insertCertificates } from '../certificate-record.ts';
import { openTestCertificates, requestBy, temporaryFolder } from './certificates.fixture.ts';

async function open(t: TestContext, options: Parameters<typeof openTestCertificates>[0] = {}) {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return undefined;
  const ca = await openTestCertificates(options);
  await ca.root('root');
  await ca.root('web');
  const csr = requestBy(openssl, temporaryFolder(t), { subject: '/CN=www.example.org' });
  const made = await ca.issue({ ca: 'web', profile: 'tls-server', csr });
  const exported = async (body: object = {}) =>
    (await ca.ask('certificate.export', { body })) as unknown as StreamAnswer;
  const text = async (body: object = {}) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await exported(body)).body) chunks.push(chunk);
    return Buffer.concat(chunks).toString('utf8');
  };
  return Object.assign(ca, { made, exported, text });
}

test('an export holds every certificate that the search finds, as PEM', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const pem = await ca.text({ ca: 'web' });
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^#]+/g)!;
  assert.equal(blocks.length, 1 + (await ca.list({ ca: 'web', subject: 'CN=web' })).length);
  assert.ok(pem.includes(`# ${ca.made.serial} CN=www.example.org\n`));
  for (const block of blocks) new X509Certificate(block);
  const entry = (await ca.entries()).at(-1)!;
  assert.deepEqual([entry.action, entry.outcome], ['certificate.export', 'ok']);
  assert.deepEqual(JSON.parse(entry.detail!), { ca: 'web', format: 'pem' });
});

test('an export as JSON lines holds what the API shows', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const lines = (await ca.text({ format: 'jsonl', serial: ca.made.serial })).trim().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [await ca.show(ca.made.serial)],
  );
});

test('pages of an export are read as they are taken', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const row = (await ca.rows()).find(({ id }) => id === ca.made.id)!;
  const records = Array.from({ length: 450 }, (_, index) => ({
    row: { ...row, id: newTimedId('crt', index), serial: `${index}`.padStart(8, '0') },
    terms: [],
  }));
  await ca.storage.commit({ steps: insertCertificates(ca.storage, records), entries: [] });
  const { body } = await ca.exported();
  const iterator = body[Symbol.asyncIterator]();
  const first = await iterator.next();
  assert.equal(Buffer.from(first.value).toString('utf8').split('BEGIN').length - 1, 200);
  await iterator.return?.();
  assert.equal((await ca.text()).split('BEGIN').length - 1, 453);
});

test('an export holds what may be exported, and takes that right', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  ca.rights.authorise = (_caller, action, resource) => {
    const isWeb = resource.type === 'key' && resource.name === 'web';
    if (action === 'certificate.export' && !isWeb) throw new KeyreeveError('forbidden', 'no');
  };
  assert.equal((await ca.text()).includes('CN=root'), false);
  assert.equal((await ca.text()).includes('CN=www.example.org'), true);
  await assert.rejects(ca.exported({ ca: 'root' }), (error) => isKeyreeveError(error, 'forbidden'));
  ca.rights.authorise = (_caller, action) => {
    if (action === 'certificate.export') throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(ca.exported(), (error) => isKeyreeveError(error, 'forbidden'));
  assert.equal((await ca.entries()).at(-1)!.outcome, 'forbidden');
});

test('approval rules look at every CA whose certificates an export holds', async (t) => {
  const seen: string[] = [];
  const gate: Gate = async (_caller, { action, resource, also = [] }) => {
    if (action !== 'certificate.export') return undefined;
    const keys = [resource, ...also.map((one) => one.resource)];
    seen.push(...keys.map((key) => (key.type === 'key' ? key.name : key.type)));
    return undefined;
  };
  await using ca = await open(t, { gate });
  if (ca === undefined) return;
  await ca.exported();
  assert.deepEqual(seen.sort(), ['root', 'web']);
});
