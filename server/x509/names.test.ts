import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, seededRandom } from '../../test/seeded-random.ts';
import { requireProgram, requirePythonCryptography, run, runPython } from '../../test/tools.ts';
import { encodeDer, encodeObjectIdentifier } from '../der/der.ts';
import { unsignedRequest } from './testing.ts';
import { decodeName, encodeName, formatName, parseName } from './x509.ts';

const notAllowed = { code: 'subject-not-allowed' };
const malformed = { code: 'certificate-malformed' };

function attribute(type: string, tag: number, content: Buffer): Buffer {
  const pair = [encodeDer(0x06, encodeObjectIdentifier(type)), encodeDer(tag, content)];
  return encodeDer(0x30, encodeDer(0x31, encodeDer(0x30, ...pair)));
}

test('the examples of RFC 4514, section 4, are read and written', () => {
  for (const text of [
    'UID=jsmith,DC=example,DC=net',
    'OU=Sales+CN=J.  Smith,DC=example,DC=net',
    'CN=James \\"Jim\\" Smith\\, III,DC=example,DC=net',
    'CN=Before\\0DAfter,DC=example,DC=net',
    '1.3.6.1.4.1.1466.0=#04024869',
  ]) {
    assert.equal(formatName(parseName(text)), text);
  }
  assert.equal(formatName(parseName('CN=Lu\\C4\\8Di\\C4\\87')), 'CN=Lučić');
  // What would turn the order of the letters round on a screen is shown as what it is.
  const turning = 'CN=a\\E2\\80\\AEb\\E2\\80\\A8';
  assert.equal(formatName(parseName('CN=a\u202eb\u2028')), turning);
  assert.deepEqual(parseName(turning), parseName('CN=a\u202eb\u2028'));
  assert.equal(formatName([]), '');
  assert.deepEqual(parseName(''), []);
});

test('the most general part stands first in the encoding, in either way of writing', () => {
  const name = parseName('CN=www.example.org, O=Example, C=DE');
  assert.deepEqual(
    name.map(([part]) => part?.value),
    ['DE', 'Example', 'www.example.org'],
  );
  assert.deepEqual(parseName('/C=DE/O=Example/CN=www.example.org'), name);
  assert.deepEqual(parseName('commonName=www.example.org,OID.2.5.4.10=Example,c=DE'), name);
  assert.deepEqual(parseName('/O=a\\/b/CN=x, y')[0], [{ type: '2.5.4.10', value: 'a/b' }]);
  assert.equal(formatName(parseName('/CN=x, y')), 'CN=x\\, y');
});

test('names that cannot be read are refused', () => {
  for (const text of [
    'CN',
    'CN=',
    'CN=a,',
    ',CN=a',
    'CN=a,,O=b',
    'XX=a',
    'CN=a+',
    'CN=a\\',
    'CN=a\\q',
    'CN=a\\C4',
    'CN=#zz',
    'CN=#0500',
    'CN=a"b',
    'CN=a<b',
    '1.2.=a',
    `CN=${'a'.repeat(5000)}`,
  ]) {
    assert.throws(() => parseName(text), notAllowed, text);
  }
});

test('values that have no place in a certificate are not written', () => {
  for (const text of [
    `CN=${'a'.repeat(65)}`,
    'CN=a+CN=b',
    'C=de',
    'C=DEU',
    'C=D\\C3\\A4',
    'serialNumber=a_b',
    'DC=\\C3\\A4',
    'CN=a\\00b',
    'CN=a\\0Ab',
    '1.2.3=#04024869',
    '1.2.3=#3080',
    `1.2.3=#${'0c81'}`,
  ]) {
    assert.throws(() => encodeName(parseName(text)), notAllowed, text);
  }
  assert.throws(() => encodeName([[]]), notAllowed);
  assert.throws(() => encodeName([[{ type: '9.9', value: 'x' }]]), notAllowed);
  assert.ok(encodeName(parseName(`CN=${'ä'.repeat(64)}`)));
});

test('each attribute has the string type that its standard gives it', () => {
  const tags = new Map(
    ['C=DE', 'serialNumber=1', 'DC=org', 'emailAddress=a@b.c', 'CN=x', 'O=x', '1.2.3=x'].map(
      (text) => [
        text.split('=')[0],
        encodeName(parseName(text)).at(-2 - text.split('=')[1]!.length),
      ],
    ),
  );
  assert.deepEqual(Object.fromEntries(tags), {
    C: 0x13,
    serialNumber: 0x13,
    DC: 0x16,
    emailAddress: 0x16,
    CN: 0x0c,
    O: 0x0c,
    '1.2.3': 0x0c,
  });
});

test('the string types that others use are read', () => {
  const value = (tag: number, hex: string) =>
    decodeName(attribute('2.5.4.10', tag, Buffer.from(hex, 'hex')))[0]?.[0]?.value;
  assert.equal(value(0x0c, 'c3a9'), 'é');
  assert.equal(value(0x13, '61402a5f'), 'a@*_');
  assert.equal(value(0x14, 'e9'), 'é');
  assert.equal(value(0x16, '6140'), 'a@');
  assert.equal(value(0x1e, '00e94e2d'), 'é中');
  assert.equal(value(0x1c, '0001f600'), '😀');
  for (const [tag, hex] of [
    [0x1e, 'd83d'],
    [0x1c, '00110000'],
    [0x04, '61'],
    [0x02, '01'],
    [0x1a, '61'],
    [0x03, '00'],
  ] as const) {
    assert.throws(() => value(tag, hex), malformed, `${tag}`);
  }
});

test('a value that is no text keeps its DER, and comes back', () => {
  const der = attribute('2.5.4.45', 0x03, Buffer.of(0, 0xff));
  assert.equal(formatName(decodeName(der)), '2.5.4.45=#030200ff');
  assert.ok(encodeName(decodeName(der)).equals(der));
  const hashText = attribute('1.2.3', 0x0c, Buffer.from('#0c0161'));
  assert.ok(encodeName(parseName(formatName(decodeName(hashText)))).equals(hashText));
});

test('a name with bytes behind it, an empty part, or another structure is refused', () => {
  const good = encodeName(parseName('CN=a'));
  for (const bad of [
    Buffer.concat([good, Buffer.of(0)]),
    Buffer.from('30023100', 'hex'),
    Buffer.from('3000', 'hex').subarray(1),
    encodeDer(0x31, good),
    encodeDer(0x30, encodeDer(0x31, encodeDer(0x30, encodeDer(0x06, Buffer.of(0x2a))))),
    attribute('2.5.4.3', 0x0c, Buffer.alloc(20_000)),
  ]) {
    assert.throws(() => decodeName(bad), malformed);
  }
});

const awkward = [
  'a',
  'Z',
  '0',
  ' ',
  ',',
  '+',
  '"',
  '\\',
  '<',
  '>',
  ';',
  '=',
  '#',
  '/',
  'é',
  '中',
  '😀',
  '.',
  '-',
];

function randomNames(count: number) {
  const random = seededRandom(3);
  const types = ['2.5.4.3', '2.5.4.10', '2.5.4.11', '2.5.4.7', '2.5.4.8', '2.5.4.9'];
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + random(5) }, () => [
      {
        type: pick(random, types),
        // A single space apart: older releases of that library escape it twice.
        value: Array.from({ length: 1 + random(12) }, () => pick(random, awkward))
          .join('')
          .replace(/^ $/, '_'),
      },
    ]),
  );
}

test('names of every character are written as Python cryptography writes them', (t) => {
  const python = requirePythonCryptography(t);
  if (python === undefined) return;
  const names = randomNames(400);
  const inputs = names.map((name) => unsignedRequest(encodeName(name)).toString('hex'));
  const theirs = runPython(
    python,
    'from cryptography import x509\noutput = [x509.load_der_x509_csr(bytes.fromhex(h)).subject.rfc4514_string() for h in input]',
    inputs,
  ) as string[];
  names.forEach((name, index) => {
    const text = formatName(name);
    assert.equal(text.replaceAll('street=', 'STREET='), theirs[index]);
    assert.deepEqual(parseName(text), name);
    assert.deepEqual(decodeName(encodeName(name)), name);
  });
});

test('names of every character are written as openssl writes them', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const name = randomNames(60).flat();
  const options = ['-nameopt', 'RFC2253,-esc_msb', '-noout', '-subject', '-inform', 'DER'];
  const printed = run(openssl, ['req', ...options], unsignedRequest(encodeName(name))).toString();
  assert.equal(printed.trimEnd(), `subject=${formatName(name)}`);
});
