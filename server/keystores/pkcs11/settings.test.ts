import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childEnvironment } from './environment.ts';
import { readSettings } from './settings.ts';

const module = 'module-path=/usr/lib/libhsm.so';

test('the URI of a keystore says module, token, PIN file, environment and sessions', () => {
  const uri = `pkcs11:token=prod;serial=77?${module}&pin-source=file:/etc/keyreeve/pin&keyreeve-environment=SOFTHSM2_CONF=/etc/s.conf&keyreeve-sessions=8`;
  assert.deepEqual(readSettings(uri), {
    modulePath: '/usr/lib/libhsm.so',
    token: {
      token: 'prod',
      manufacturer: undefined,
      model: undefined,
      serial: '77',
      slotId: undefined,
    },
    pinFile: '/etc/keyreeve/pin',
    environment: { SOFTHSM2_CONF: '/etc/s.conf' },
    sessions: 8,
  });
});

test('a PIN file may be written as file:///path too, and may be left out', () => {
  assert.equal(readSettings(`pkcs11:token=a?${module}&pin-source=file:///a`).pinFile, '/a');
  assert.equal(readSettings(`pkcs11:token=a?${module}`).pinFile, undefined);
  assert.equal(readSettings(`pkcs11:token=a?${module}`).sessions, 4);
});

for (const [what, uri, hint] of [
  ['a PIN', `pkcs11:token=a?${module}&pin-value=1234`, /file of mode 0600/],
  ['the name of a module', 'pkcs11:token=a?module-name=hsm', /module-path=/],
  ['no module', 'pkcs11:token=a', /module-path=/],
  ['a relative path', 'pkcs11:token=a?module-path=lib.so', /slash/],
  ['no token', `pkcs11:?${module}`, /token=NAME/],
  ['a key', `pkcs11:token=a;object=k?${module}`, /Leave it out/],
  ['a library', `pkcs11:token=a;library-version=1?${module}`, /token by its label/],
  ['a program that prints the PIN', `pkcs11:token=a?${module}&pin-source=|/bin/pin`, /file:/],
  ['a relative PIN file', `pkcs11:token=a?${module}&pin-source=file:pin`, /file:/],
  ['an unknown attribute', `pkcs11:token=a?${module}&keyreeve-x=1`, /Correct or remove/],
  ['an unknown attribute of the path', `pkcs11:token=a;tokn=b?${module}`, /Correct or remove/],
  ['no sessions', `pkcs11:token=a?${module}&keyreeve-sessions=0`, /Correct/],
  ['33 sessions', `pkcs11:token=a?${module}&keyreeve-sessions=33`, /Correct/],
  ['sessions twice', `pkcs11:token=a?${module}&keyreeve-sessions=1&keyreeve-sessions=2`, /Correct/],
  ['a variable without a value', `pkcs11:token=a?${module}&keyreeve-environment=X`, /Correct/],
] as const) {
  test(`a keystore's URI with ${what} is refused, and the error says what to do`, () => {
    assert.throws(
      () => readSettings(uri),
      (error: Error & { code?: string; hint?: string }) => {
        assert.equal(error.code, 'config-invalid');
        assert.match(error.hint ?? '', hint);
        assert.equal(error.message.includes('1234'), false);
        return true;
      },
    );
  });
}

test('32 sessions are taken', () => {
  assert.equal(readSettings(`pkcs11:token=a?${module}&keyreeve-sessions=32`).sessions, 32);
});

test('the child sees a list of variables and what its settings name, and nothing else', () => {
  const own = {
    PATH: '/bin',
    KEYREEVE_DATABASE_URL: 'secret',
    SOFTHSM2_CONF: '/a',
    NODE_OPTIONS: '-x',
  };
  assert.deepEqual(childEnvironment(own, { SOFTHSM2_CONF: '/b', MINE: '1' }), {
    PATH: '/bin',
    SOFTHSM2_CONF: '/b',
    MINE: '1',
  });
});
