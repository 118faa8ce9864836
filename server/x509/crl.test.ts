import assert from 'node:assert/strict';
import { test } from 'node:test';
import { revocationReasonNames } from '../../api/revocation-reasons.ts';
import { requireProgram, run } from '../../test/tools.ts';
import { signTbs, testCrl, testKey, testName } from './testing.ts';
import {
  type CrlFields,
  encodeRevokedEntries,
  encodeTbsCrl,
  keyIdentifier,
  parseCrl,
  type RevokedEntry,
  verifySigned,
} from './x509.ts';

const key = testKey();
const day = 86_400_000;
const fields: CrlFields = {
  scheme: 'ecdsa-sha256',
  issuer: testName,
  thisUpdate: Date.UTC(2026, 0, 1),
  nextUpdate: Date.UTC(2026, 0, 8),
  authorityKeyId: keyIdentifier(key.spki),
  number: 1n,
};

function* entriesOf(count: number): Generator<RevokedEntry> {
  for (let index = 0; index < count; index++) {
    const serial = Buffer.alloc(16, 0x51);
    serial.writeUInt32BE(index, 4);
    const reason = revocationReasonNames[index % revocationReasonNames.length]!;
    yield { serial, revokedAt: Date.UTC(2025, 0, 1) + index * 1000, reason };
  }
}

test('a CRL is read as it was written', async () => {
  const entries = [...entriesOf(20)];
  const crl = parseCrl(signTbs(encodeTbsCrl({ ...fields, number: 2n ** 150n }, entries), key));
  assert.equal(crl.number, 2n ** 150n);
  assert.equal(crl.thisUpdate, fields.thisUpdate);
  assert.equal(crl.nextUpdate, fields.nextUpdate);
  assert.ok(crl.issuer.equals(testName));
  assert.ok(crl.authorityKeyId?.equals(fields.authorityKeyId));
  assert.deepEqual(
    crl.entries.map(({ serial, revokedAt, reason }) => ({ serial, revokedAt, reason })),
    entries,
  );
  assert.ok(await verifySigned(crl, key.spki));
});

test('openssl reads entries, reasons and the number as they were meant', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const der = testCrl(key);
  const text = run(openssl, ['crl', '-inform', 'DER', '-noout', '-text'], der).toString();
  assert.match(text, /Version 2 \(0x1\)[\s\S]*Next Update: Jan {2}1 00:00:00 2050 GMT/);
  assert.match(text, /X509v3 CRL Number: \s+300\n/);
  assert.match(
    text,
    /Serial Number: 01\n\s+Revocation Date: Jun {2}1 00:00:00 2025 GMT\n {4}Serial/,
  );
  assert.match(
    text,
    /Serial Number: FF01\n[\s\S]*Key Compromise\s+Invalidity Date: \s+Feb 29 00:00:00 2024 GMT/,
  );
  assert.match(text, /Certificate Hold/);
  const empty = signTbs(encodeTbsCrl(fields, []), key);
  const printed = run(openssl, ['crl', '-inform', 'DER', '-noout', '-text'], empty).toString();
  assert.match(printed, /No Revoked Certificates/);
  assert.deepEqual(parseCrl(empty).entries, []);
});

test('a CRL made in portions is the one made at once', () => {
  const entries = [...entriesOf(1000)];
  const portions = [entries.slice(0, 300), [], entries.slice(300)].map(encodeRevokedEntries);
  assert.ok(encodeTbsCrl(fields, portions).equals(encodeTbsCrl(fields, entries)));
  assert.ok(encodeTbsCrl(fields, [Buffer.alloc(0)]).equals(encodeTbsCrl(fields, [])));
});

test('100,000 entries are written and read, and openssl reads the last one', (t) => {
  const count = 100_000;
  const der = signTbs(encodeTbsCrl(fields, entriesOf(count)), key);
  const crl = parseCrl(der);
  assert.equal(crl.entries.length, count);
  assert.equal(crl.entries.at(-1)?.serial.readUInt32BE(4), count - 1);
  assert.throws(() => parseCrl(der, { entriesMaximum: count - 1 }), { code: 'crl-malformed' });
  assert.throws(() => parseCrl(der, { bytesMaximum: der.length - 1 }), { code: 'crl-malformed' });
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const options = ['crl', '-inform', 'DER', '-outform', 'DER'];
  assert.ok(run(openssl, options, der).equals(der));
});

test('serial numbers that others gave come back, and those that nobody can give are refused', () => {
  const revokedAt = fields.thisUpdate - day;
  for (const serial of [Buffer.of(0), Buffer.of(0x80), Buffer.alloc(20, 0xff)]) {
    const tbs = encodeTbsCrl(fields, [{ serial, revokedAt, reason: 'superseded' }]);
    assert.ok(parseCrl(signTbs(tbs, key)).entries[0]?.serial.equals(serial));
  }
  for (const serial of [Buffer.alloc(0), Buffer.of(0, 1), Buffer.alloc(21, 1)]) {
    assert.throws(() => encodeRevokedEntries([{ serial, revokedAt, reason: 'superseded' }]), {
      code: 'internal',
    });
  }
  assert.throws(() => encodeTbsCrl({ ...fields, number: -1n }, []), { code: 'internal' });
  assert.throws(() => encodeTbsCrl({ ...fields, number: 2n ** 159n }, []), { code: 'internal' });
  assert.throws(() => encodeTbsCrl({ ...fields, nextUpdate: 1 }, []), { code: 'internal' });
});

test('an entry that is about something else than a plain revocation is refused', () => {
  const plain = signTbs(encodeTbsCrl(fields, [...entriesOf(2)].slice(1)), key).toString('hex');
  // reasonCode 1 (keyCompromise), extension 2.5.29.21.
  const reason = '300a0603551d1504030a0101';
  assert.ok(plain.includes(reason));
  for (const [what, other] of Object.entries({
    'a reason that there is not': '300a0603551d1504030a0107',
    'a reason of delta CRLs': '300a0603551d1504030a0108',
    'a reason that is no ENUMERATED': '300a0603551d150403020101',
  })) {
    const der = Buffer.from(plain.replace(reason, other), 'hex');
    assert.throws(() => parseCrl(der), { code: 'crl-malformed' }, what);
  }
  // The indirect CRLs' extension certificateIssuer, critical, in the place of 8 bytes of a serial.
  const tbs = encodeTbsCrl(fields, [
    Buffer.from('301f020101170d3235303130313030303030305a300b30090603551d1d0402aabb', 'hex'),
  ]);
  assert.deepEqual(parseCrl(signTbs(tbs, key)).entries[0]?.reason, 'unspecified');
  const critical = encodeTbsCrl(fields, [
    Buffer.from('3022020101170d3235303130313030303030305a300e300c0603551d1d0101ff0402aabb', 'hex'),
  ]);
  assert.throws(() => parseCrl(signTbs(critical, key)), { code: 'crl-malformed' });
});
