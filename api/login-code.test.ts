import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { formatLoginCode, loginCodePinBytes, parseLoginCode } from './login-code.ts';

const fingerprint = randomBytes(32).toString('hex');
const secret = new Uint8Array(randomBytes(16));
const code = formatLoginCode(secret, fingerprint);

test('a login code gives back its secret and the pin of the CA', () => {
  const parsed = parseLoginCode(code);
  assert.deepEqual(parsed?.secret, secret);
  assert.equal(
    Buffer.from(parsed!.caPin).toString('hex'),
    fingerprint.slice(0, loginCodePinBytes * 2),
  );
});

test('a login code has the documented form', () => {
  const zeros = formatLoginCode(new Uint8Array(16), '00'.repeat(32));
  // Made with Python: binascii.crc_hqx(b'\x01' + bytes(32), 0xffff), in base32 by hand.
  assert.equal(zeros, '0400000-0000000-0000000-0000000-0000000-0000000-0000000-0000fq2');
  assert.match(code, /^[0-9a-hj-km-np-tv-z]{7}(-[0-9a-hj-km-np-tv-z]{7}){7}$/);
});

test('a login code is read in any case, without hyphens, and with letters that look alike', () => {
  const parsed = parseLoginCode(code);
  assert.deepEqual(parseLoginCode(code.toUpperCase()), parsed);
  assert.deepEqual(parseLoginCode(` ${code.replaceAll('-', ' ')}\n`), parsed);
  assert.deepEqual(parseLoginCode(code.replaceAll('0', 'O').replaceAll('1', 'l')), parsed);
});

test('every mistyped letter of a login code is found', () => {
  const letters = '0123456789abcdefghjkmnpqrstvwxyz';
  for (let index = 0; index < code.length; index++) {
    if (code[index] === '-') continue;
    const other = letters[(letters.indexOf(code[index]!) + 1 + (index % 31)) % 32]!;
    if (other === code[index]) continue;
    const wrong = code.slice(0, index) + other + code.slice(index + 1);
    assert.equal(parseLoginCode(wrong), undefined, wrong);
  }
});

test('a login code that is cut, too long or of other letters is refused', () => {
  for (const text of ['', code.slice(1), `${code}0`, code.replace(/.$/, 'u'), '!'.repeat(56)]) {
    assert.equal(parseLoginCode(text), undefined, text);
  }
});

test('a code for a fingerprint or secret of another length is not made', () => {
  assert.throws(() => formatLoginCode(secret, 'abcd'), RangeError);
  assert.throws(() => formatLoginCode(secret.subarray(1), fingerprint), RangeError);
});
