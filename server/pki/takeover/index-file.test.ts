import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyreeveError } from '../../base/errors.ts';
import { parseName } from '../../x509/x509.ts';
import { indexLineLengthMax, indexLinesMax, parseIndex } from './index-file.ts';
import { onelineBytes, onelineMatches, onelineOf, onelineText } from './oneline.ts';

const valid = 'V\t351231235959Z\t\t1000\tunknown\t/C=DE/O=Example/CN=one';

function revoked(revocation: string): string {
  return `R\t20351231235959Z\t${revocation}\t1001\tunknown\t/CN=two`;
}

test('a valid, an expired and a revoked line are read as openssl writes them', () => {
  const [first, second, third] = parseIndex(
    `${valid}\nE\t200101000000Z\t\t0A\tunknown\t/CN=old\n${revoked('260102030405Z,keyCompromise')}\n`,
  );
  assert.equal(first!.serial, '1000');
  assert.equal(first!.notAfter, Date.UTC(2035, 11, 31, 23, 59, 59));
  assert.equal(first!.revocation, undefined);
  assert.equal(first!.subject.toString(), '/C=DE/O=Example/CN=one');
  assert.equal(second!.serial, '0a');
  assert.equal(second!.notAfter, Date.UTC(2020, 0, 1));
  assert.deepEqual(third!.revocation, {
    revokedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
    reason: 'keyCompromise',
    invalidFrom: null,
  });
  assert.equal(third!.line, 3);
});

test('carriage returns, empty lines and comments are passed over, and lines still counted', () => {
  const lines = parseIndex(`# a comment\r\n\r\n${valid}\r\n`);
  assert.deepEqual(
    lines.map(({ line, subject }) => [line, subject.toString()]),
    [[3, '/C=DE/O=Example/CN=one']],
  );
});

test('serial numbers are stored in one form: zero, leading zeros, an odd number of digits', () => {
  const serial = (text: string) => parseIndex(valid.replace('1000', text))[0]!.serial;
  assert.equal(serial('00'), '00');
  assert.equal(serial('00F3'), 'f3');
  assert.equal(serial('ABC'), '0abc');
  assert.equal(serial('F'.repeat(40)), 'f'.repeat(40));
});

test('two digits of a year mean 1950 to 2049', () => {
  const end = (time: string) => parseIndex(valid.replace('351231235959Z', time))[0]!.notAfter;
  assert.equal(end('500101000000Z'), Date.UTC(1950, 0, 1));
  assert.equal(end('491231235959Z'), Date.UTC(2049, 11, 31, 23, 59, 59));
  assert.equal(end('20500101000000Z'), Date.UTC(2050, 0, 1));
  assert.equal(end('240229000000Z'), Date.UTC(2024, 1, 29));
});

for (const [text, reason, invalidFrom] of [
  ['260101000000Z', 'unspecified', null],
  ['260101000000Z,unspecified', 'unspecified', null],
  ['260101000000Z,CACompromise', 'cACompromise', null],
  ['260101000000Z,superseded', 'superseded', null],
  ['260101000000Z,affiliationchanged', 'affiliationChanged', null],
  ['260101000000Z,certificateHold', 'certificateHold', null],
  ['260101000000Z,privilegeWithdrawn', 'privilegeWithdrawn', null],
  ['260101000000Z,holdInstruction,holdInstructionReject', 'certificateHold', null],
  ['260101000000Z,keyTime,20251224180000Z', 'keyCompromise', Date.UTC(2025, 11, 24, 18)],
  ['260101000000Z,CAkeyTime,20251224180000Z', 'cACompromise', Date.UTC(2025, 11, 24, 18)],
  ['260101000000Z,keyCompromise,20251224180000Z', 'keyCompromise', Date.UTC(2025, 11, 24, 18)],
] as const) {
  test(`the revocation "${text}" means ${reason}`, () => {
    assert.deepEqual(parseIndex(revoked(text))[0]!.revocation, {
      revokedAt: Date.UTC(2026, 0, 1),
      reason,
      invalidFrom,
    });
  });
}

for (const [what, line] of [
  ['too few fields', 'V\t351231235959Z\t\t1000\tunknown'],
  ['too many fields', `${valid}\tmore`],
  ['another flag', valid.replace('V', 'S')],
  ['a valid line with a revocation', valid.replace('\t\t', '\t260101000000Z\t')],
  ['a revoked line without a time', revoked('')],
  ['a reason that is not known', revoked('260101000000Z,boredom')],
  ['a reason that belongs to delta CRLs', revoked('260101000000Z,removeFromCRL')],
  ['a key compromised at no time', revoked('260101000000Z,keyTime')],
  ['four parts of a revocation', revoked('260101000000Z,keyTime,20251224180000Z,x')],
  ['an invalidity time that is none', revoked('260101000000Z,keyTime,yesterday')],
  ['a month that is none', valid.replace('351231235959Z', '351331235959Z')],
  ['a day that is none', valid.replace('351231235959Z', '350229000000Z')],
  ['an hour that is none', valid.replace('351231235959Z', '350101240000Z')],
  ['a time of revocation that no CRL can say', revoked('19491231235959Z')],
  ['an invalidity time that no CRL can say', revoked('260101000000Z,keyTime,19491231235959Z')],
  ['a time without a zone', valid.replace('351231235959Z', '351231235959')],
  ['a time without seconds', valid.replace('351231235959Z', '3512312359Z')],
  ['a time with a fraction', valid.replace('351231235959Z', '20351231235959.5Z')],
  ['a serial number that is not hexadecimal', valid.replace('1000', '10x0')],
  ['a negative serial number', valid.replace('1000', '-1000')],
  ['no serial number', valid.replace('1000', '')],
  ['a serial number of 21 bytes', valid.replace('1000', '1'.repeat(42))],
  ['a subject without a slash', valid.replace('/C=DE', 'C=DE')],
  ['a subject with letters beyond ASCII', valid.replace('one', 'ö')],
  ['a subject with a control character', valid.replace('one', 'o\u0007')],
  ['a line beyond the limit', valid + 'x'.repeat(indexLineLengthMax)],
] as const) {
  test(`refused, with the number of the line: ${what}`, () => {
    assert.throws(() => parseIndex(`${valid.replace('1000', '99')}\n${line}\n`), {
      code: 'invalid-request',
      message: /^Line 2 of the index /,
    });
  });
}

test('two lines of one serial number are refused, however they write it', () => {
  assert.throws(() => parseIndex(`${valid}\n${valid.replace('1000', '001000')}`), {
    code: 'invalid-request',
    message: /Line 2 .* of line 1/,
  });
});

test('more lines than the limit are refused', () => {
  const lines = (count: number) =>
    Array.from({ length: count }, (_, at) => valid.replace('1000', (at + 1).toString(16))).join(
      '\n',
    );
  assert.equal(parseIndex(lines(indexLinesMax)).length, indexLinesMax);
  assert.throws(() => parseIndex(lines(indexLinesMax + 1)), { code: 'too-large' });
});

test('escapes of openssl are undone, and UTF-8 and Latin-1 shown as what they are', () => {
  assert.equal(onelineText(onelineBytes('/C=DE/CN=M\\xC3\\xBCller')!), 'CN=Müller,C=DE');
  assert.equal(onelineText(onelineBytes('/CN=M\\xFCller')!), 'CN=Müller');
  // No name can be read from it: it is shown as it is.
  assert.equal(onelineText(onelineBytes('/CN=a/b')!), '/CN=a/b');
});

test('a certificate is held against the line in whatever string type openssl found it', () => {
  const name = parseName('CN=Müller & Söhne/2,O=A\\+B,C=DE');
  for (const text of [
    '/C=DE/O=A+B/CN=M\\xC3\\xBCller & S\\xC3\\xB6hne/2',
    '/C=DE/O=A\\+B/CN=M\\xC3\\xBCller & S\\xC3\\xB6hne\\/2',
    '/C=DE/O=A+B/CN=M\\xFCller & S\\xF6hne/2',
    `/C=DE/O=A+B/CN=${Buffer.from('Müller & Söhne/2', 'utf16le')
      .swap16()
      .reduce((all, byte) => `${all}\\x${byte.toString(16).padStart(2, '0').toUpperCase()}`, '')}`,
  ]) {
    assert.equal(onelineMatches(onelineBytes(text)!, name), true, text);
  }
  for (const text of [
    '/C=DE/O=A+B/CN=Muller & S\\xC3\\xB6hne/2',
    '/C=DE/O=A+B/CN=M\\xC3\\xBCller & S\\xC3\\xB6hne/2/OU=x',
    '/C=DE/O=A+B',
    '/O=A+B/C=DE/CN=M\\xC3\\xBCller & S\\xC3\\xB6hne/2',
    '/C=DE/OU=A+B/CN=M\\xC3\\xBCller & S\\xC3\\xB6hne/2',
    '',
  ]) {
    assert.equal(onelineMatches(onelineBytes(text)!, name), false, text);
  }
  assert.equal(onelineMatches(onelineOf(name), name), true);
});

test('whatever is done to an index, it is read or refused with the number of a line', () => {
  const lines = [
    valid,
    revoked('260102030405Z,keyTime,20251224180000Z'),
    valid.replace('1000', '2'),
  ];
  const pieces = ['\t', ',', '\\', '/', '=', 'Z', '0', '\u0000', 'é', '\r', '\n', 'R', '\\x'];
  let random = 20_261_122;
  const next = (below: number) => {
    random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((random / 2_147_483_648) * below);
  };
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    let text = lines.join('\n');
    for (let changes = 1 + next(3); changes > 0; changes--) {
      const at = next(text.length);
      text = text.slice(0, at) + pieces[next(pieces.length)]! + text.slice(at + next(3));
    }
    try {
      for (const line of parseIndex(text)) onelineText(line.subject);
    } catch (error) {
      assert.ok(error instanceof KeyreeveError, String(error));
      assert.match(error.message, /^Line \d+ of the index /);
      refused++;
    }
  }
  assert.ok(refused > 5000, `${refused} of 20,000 were refused`);
});
