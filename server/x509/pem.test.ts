import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pemText } from '../base/pem.ts';
import { testCertificate, testKey, testRequest } from './testing.ts';
import { certificatePem, decodePem, requestFromText } from './x509.ts';

const key = testKey();
const certificate = testCertificate(key);
const request = testRequest(key);

test('blocks are found among what openssl writes between them', () => {
  const text = `subject=CN = a\r\n${certificatePem(certificate)}\nissuer=b\n${pemText('PRIVATE KEY', Buffer.of(1))}${certificatePem(request).replaceAll('\n', '\r\n')}`;
  const blocks = decodePem(text, 'CERTIFICATE');
  assert.deepEqual(
    blocks.map((block) => block.toString('hex')),
    [certificate.toString('hex'), request.toString('hex')],
  );
});

test('PEM that is damaged is refused, by the label', () => {
  const pem = certificatePem(certificate);
  for (const [what, text] of Object.entries({
    nothing: '',
    'another label': pemText('X509 CRL', certificate),
    'no end': pem.slice(0, -10),
    'a character that is no base64': pem.replace('MII', 'M!I'),
    'padding that is missing': '-----BEGIN CERTIFICATE-----\nMA\n-----END CERTIFICATE-----\n',
    'headers of old': pem.replace('-----\n', '-----\nProc-Type: 4,ENCRYPTED\n\n'),
    'a block inside a block': pem.replace('\n', `\n${pem}`),
  })) {
    assert.throws(() => decodePem(text, 'CERTIFICATE'), { code: 'certificate-malformed' }, what);
  }
  assert.throws(() => decodePem('', 'CERTIFICATE REQUEST'), { code: 'request-malformed' });
  assert.throws(() => decodePem('', 'X509 CRL'), { code: 'crl-malformed' });
});

test('the number of blocks and the length of the text have limits', () => {
  const text = certificatePem(Buffer.of(0x30, 0)).repeat(3);
  assert.equal(decodePem(text, 'CERTIFICATE', { blocksMaximum: 3 }).length, 3);
  const refused = { code: 'certificate-malformed' };
  assert.throws(() => decodePem(text, 'CERTIFICATE', { blocksMaximum: 2 }), refused);
  assert.throws(() => decodePem(text, 'CERTIFICATE', { lengthMaximum: text.length - 1 }), refused);
});

test('many blocks, and many beginnings without an end, take no longer than their length', () => {
  const startedAt = performance.now();
  assert.equal(decodePem(certificatePem(certificate).repeat(20_000), 'CERTIFICATE').length, 20_000);
  assert.throws(() => decodePem('-----BEGIN CERTIFICATE-----'.repeat(100_000), 'CERTIFICATE'));
  assert.ok(performance.now() - startedAt < 5000);
});

test('a request is read from PEM with either label, and from base64', () => {
  for (const text of [
    pemText('CERTIFICATE REQUEST', request),
    pemText('NEW CERTIFICATE REQUEST', request),
    request.toString('base64'),
    `${request.toString('base64').replace(/.{64}/g, '$&\n')}\n`,
  ]) {
    assert.ok(requestFromText(text).der.equals(request));
  }
  for (const text of [
    '',
    'not base64!',
    `${' '.repeat(600_000)}${request.toString('base64')}`,
    `${' '.repeat(600_000)}${pemText('CERTIFICATE REQUEST', request)}`,
    pemText('CERTIFICATE REQUEST', request).repeat(2),
    certificatePem(certificate),
    certificate.toString('base64'),
    '-----BEGIN CERTIFICATE REQUEST-----',
  ]) {
    assert.throws(() => requestFromText(text), { code: 'request-malformed' }, text.slice(0, 40));
  }
});
