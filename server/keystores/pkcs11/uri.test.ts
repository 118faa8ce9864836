import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, seededRandom } from '../../../test/seeded-random.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import { formatPkcs11Uri, parsePkcs11Uri } from './uri.ts';

// RFC 7512, section 3: the examples, joined where the document breaks their lines.
const examples: readonly (readonly [string, object, object])[] = [
  ['pkcs11:', {}, {}],
  ['pkcs11:object=my-pubkey;type=public', { object: 'my-pubkey', type: 'public' }, {}],
  [
    'pkcs11:object=my-key;type=private?pin-source=file:/etc/token',
    { object: 'my-key', type: 'private' },
    { 'pin-source': 'file:/etc/token' },
  ],
  [
    'pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin',
    {
      token: 'The Software PKCS#11 Softtoken',
      manufacturer: 'Snake Oil, Inc.',
      model: '1.0',
      object: 'my-certificate',
      type: 'cert',
      id: Buffer.from('69953e5cf4bdec91', 'hex'),
      serial: '',
    },
    { 'pin-source': 'file:/etc/token_pin' },
  ],
  [
    'pkcs11:object=my-sign-key;type=private?module-name=mypkcs11',
    { object: 'my-sign-key', type: 'private' },
    { 'module-name': 'mypkcs11' },
  ],
  [
    'pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1',
    { object: 'my-sign-key', type: 'private' },
    { 'module-path': '/mnt/libmypkcs11.so.1' },
  ],
  [
    'pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin',
    { token: 'Software PKCS#11 softtoken', manufacturer: 'Snake Oil, Inc.' },
    { 'pin-value': 'the-pin' },
  ],
  ['pkcs11:slot-description=Sun%20Metaslot', { 'slot-description': 'Sun Metaslot' }, {}],
  [
    'pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23',
    {
      'library-manufacturer': 'Snake Oil, Inc.',
      'library-description': 'Soft Token Library',
      'library-version': '1.23',
    },
    {},
  ],
  ['pkcs11:token=My%20token%25%20created%20by%20Joe', { token: 'My token% created by Joe' }, {}],
  [
    'pkcs11:token=A%20name%20with%20a%20substring%20%25%3B',
    { token: 'A name with a substring %;' },
    {},
  ],
  [
    'pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1',
    { token: 'Name with a small A with acute: á' },
    {},
  ],
];

for (const [text, path, query] of examples) {
  test(`the example of RFC 7512 is read: ${text.slice(0, 60)}`, () => {
    const uri = parsePkcs11Uri(text);
    assert.deepEqual(uri.path, path);
    assert.deepEqual(uri.query, query);
    assert.deepEqual(parsePkcs11Uri(formatPkcs11Uri(uri)), uri);
  });
}

test('attributes of vendors are kept, those of the query as often as they come', () => {
  const uri = parsePkcs11Uri(
    'pkcs11:token=my-token;my-attribute=an%20attribute?vendor-x=one&vendor-x=two|three',
  );
  assert.deepEqual(uri.vendorPath, [{ name: 'my-attribute', value: 'an attribute' }]);
  assert.deepEqual(
    uri.vendorQuery.map(({ value }) => value),
    ['one', 'two|three'],
  );
  assert.deepEqual(parsePkcs11Uri(formatPkcs11Uri(uri)), uri);
});

for (const [what, text] of [
  ['another scheme', 'pkcs12:token=x'],
  ['no scheme', 'token=x'],
  ['an attribute twice', 'pkcs11:token=a;token=b'],
  ['an attribute of the query twice', 'pkcs11:?pin-source=file:/a&pin-source=file:/b'],
  ['an attribute of a vendor twice in the path', 'pkcs11:x-y=1;x-y=2'],
  ['an attribute without a value', 'pkcs11:token'],
  ['an attribute without a name', 'pkcs11:=x'],
  ['an empty attribute', 'pkcs11:token=a;;object=b'],
  ['a blank', 'pkcs11:token=a b'],
  ['a slash in the path', 'pkcs11:token=a/b'],
  ['a question mark in the path', 'pkcs11:token=a;object=b#c'],
  ['half of an encoded byte', 'pkcs11:token=a%2'],
  ['no hex after the percent sign', 'pkcs11:token=%zz'],
  ['text that is no UTF-8', 'pkcs11:token=%ff%fe'],
  ['a NUL, where C would end the text', 'pkcs11:token=a%00b'],
  ['an unknown type', 'pkcs11:type=secret'],
  ['a slot that is no number', 'pkcs11:slot-id=1a'],
  ['a version of three parts', 'pkcs11:library-version=1.2.3'],
  ['more than 8 KB', `pkcs11:token=${'a'.repeat(9000)}`],
] as const) {
  test(`a URI with ${what} is refused`, () => {
    assert.throws(() => parsePkcs11Uri(text), { code: 'invalid-request' });
    assert.throws(() => parsePkcs11Uri(text, 'config-invalid'), { code: 'config-invalid' });
  });
}

test('an error never shows a value: it may be a PIN', () => {
  assert.throws(
    () => parsePkcs11Uri('pkcs11:token=x?pin-value=12 34'),
    (error: Error) => !error.message.includes('12') && !error.message.includes('34'),
  );
});

test('an id of any bytes comes back as it was', () => {
  const id = Buffer.from(Array.from({ length: 256 }, (_none, byte) => byte));
  assert.deepEqual(parsePkcs11Uri(formatPkcs11Uri({ path: { id } })).path.id, id);
});

test('random text is read to the same meaning again, or refused with a typed error', () => {
  const random = seededRandom(7512);
  const pieces = [
    'pkcs11:',
    'token',
    '=',
    ';',
    '?',
    '&',
    '%',
    '%41',
    'id',
    'type',
    'private',
    'ä',
    '\0',
    '/',
    ' ',
  ];
  for (let round = 0; round < 3000; round++) {
    const length = random(12);
    const text = `pkcs11:${Array.from({ length }, () => pick(random, pieces)).join('')}`;
    try {
      const uri = parsePkcs11Uri(text);
      assert.deepEqual(parsePkcs11Uri(formatPkcs11Uri(uri)), uri, text);
    } catch (error) {
      assert.equal(isKeyreeveError(error, 'invalid-request'), true, `${text}: ${error}`);
    }
  }
});
