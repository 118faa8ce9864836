import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DerError, type DerReason } from './der-error.ts';
import { encodeDer } from './elements.ts';
import { DerReader } from './reader.ts';
import { checkDer, derDepthMaximum } from './verify.ts';

const refused: readonly (readonly [hex: string, reason: DerReason, what: string])[] = [
  ['', 'truncated', 'nothing'],
  ['30', 'truncated', 'a tag alone'],
  ['300202', 'truncated', 'contents that are cut'],
  ['30030201', 'truncated', 'an element that is longer than its parent'],
  ['0500ff', 'trailing', 'a byte behind'],
  ['30000500', 'trailing', 'a second element'],
  ['30800000', 'length-form', 'an indefinite length'],
  ['308500000000020500', 'length-form', 'a length of five bytes'],
  ['3084ffffffff', 'truncated', 'a length of four gigabytes'],
  ['30810205 00', 'length-not-minimal', 'a long form for a short length'],
  ['3082008004', 'length-not-minimal', 'a length with a zero in front'],
  ['1f8101 00', 'tag', 'a tag of several bytes'],
  ['0000', 'tag', 'the end of contents'],
  ['0900', 'tag', 'a REAL'],
  ['240404020102', 'constructed', 'an OCTET STRING in pieces'],
  ['1000', 'tag', 'a SEQUENCE that is not constructed'],
  ['010101', 'boolean', 'a BOOLEAN of BER'],
  ['01020000', 'boolean', 'a BOOLEAN of two bytes'],
  ['0200', 'integer', 'an INTEGER of no bytes'],
  ['0202007f', 'integer', 'an INTEGER with a zero too many'],
  ['0202ff80', 'integer', 'a negative INTEGER with a byte too many'],
  ['0a020001', 'integer', 'an ENUMERATED with a zero too many'],
  ['0300', 'bit-string', 'a BIT STRING of no bytes'],
  ['030108', 'bit-string', 'eight unused bits'],
  ['030101', 'bit-string', 'unused bits of nothing'],
  ['030201ff', 'bit-string', 'unused bits that are set'],
  ['050100', 'null', 'a NULL with contents'],
  ['0600', 'object-identifier', 'an OBJECT IDENTIFIER of no bytes'],
  ['06028001', 'object-identifier', 'an arc with a zero in front'],
  ['06022a81', 'object-identifier', 'an arc that is cut'],
  [`0641${'2a'.repeat(65)}`, 'object-identifier', 'one of 65 bytes'],
  ['0c02c328', 'text', 'bytes that are no UTF-8'],
  ['130180', 'text', 'a PrintableString of eight bits'],
  ['1e03004100', 'text', 'half a character'],
  ['1c0400000041 00', 'trailing', 'a byte behind a text'],
  ['3106020102020101', 'set-order', 'members out of order'],
  ['170d3236313330313030303030305a', 'time', 'a month 13'],
  ['170d3235303232393030303030305a', 'time', 'a 29 February of 2025'],
  ['170d3236303130313234303030305a', 'time', 'an hour 24'],
  ['170d3236303130313030303036305a', 'time', 'a second 60'],
  ['170b323630313031303030305a', 'time', 'a time without seconds'],
  ['17113236303130313030303030302b30313030', 'time', 'a time with an offset'],
  ['18113230323630313031303030303030 2e355a', 'time', 'a fraction of a second'],
  ['180e32303236303130313030303030 30', 'time', 'a time without Z'],
];

test('whatever is not DER is refused, with the reason', () => {
  for (const [hex, reason, what] of refused) {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    for (const wrapped of [bytes, ...(bytes.length > 1 ? [encodeDer(0xa0, bytes)] : [])]) {
      assert.throws(
        () => checkDer(wrapped),
        (error) =>
          error instanceof DerError &&
          // Inside, bytes behind an element are the next element.
          (error.reason === reason || (wrapped !== bytes && reason === 'trailing')),
        `${what}: ${wrapped.toString('hex')}`,
      );
      if (reason === 'trailing') break;
    }
  }
});

test('every form that DER has is taken', () => {
  for (const hex of [
    '3000',
    '3100',
    '0101ff',
    '010100',
    '020100',
    '02020080',
    '0201ff',
    '0202ff7f',
    '030100',
    '030207 80',
    '0500',
    '06032a0304',
    '0c02c3a9',
    '1e020041',
    '170d3236303130313030303030305a',
    '180f32303234303232393030303030305a',
    '3106020101020102',
    '8003ffffff',
    'a003020101',
  ]) {
    assert.doesNotThrow(() => checkDer(Buffer.from(hex.replaceAll(' ', ''), 'hex')), hex);
  }
});

test('nesting ends at its limit, and ten thousand levels cost nothing', () => {
  const nested = (levels: number): Buffer => {
    let bytes: Buffer = Buffer.from('0500', 'hex');
    for (let level = 0; level < levels; level++) bytes = encodeDer(0x30, bytes);
    return bytes;
  };
  assert.doesNotThrow(() => checkDer(nested(derDepthMaximum)));
  const reason = { reason: 'too-deep' };
  assert.throws(() => checkDer(nested(derDepthMaximum + 1)), reason);
  assert.throws(() => checkDer(nested(10_000)), reason);
  assert.throws(() => checkDer(nested(3), 0, nested(3).length, 2), reason);
});

test('size ends at its limit', () => {
  const bytes = encodeDer(0x04, Buffer.alloc(100));
  assert.ok(DerReader.over(bytes, { bytesMaximum: bytes.length }));
  assert.throws(() => DerReader.over(bytes, { bytesMaximum: bytes.length - 1 }), {
    reason: 'too-large',
  });
});
