import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AlgorithmRow,
  algorithmNames,
  algorithmOf,
  algorithms,
  defaultSchemes,
  isAlgorithm,
  isScheme,
  type SchemeName,
  schemes,
  schemesFor,
  supportsScheme,
  usesMaximum,
} from './algorithms.ts';
import { type Purpose, purposes } from './purposes.ts';

const actOf: Record<Purpose, string> = {
  sign: 'sign',
  encrypt: 'encrypt',
  mac: 'mac',
  wrap: 'wrap',
  agree: 'agree',
  encapsulate: 'encapsulate',
  ca: 'sign',
};

test('every algorithm serves a purpose, by schemes that do what the purpose says', () => {
  for (const name of algorithmNames) {
    const served = purposes.filter((purpose) => schemesFor(name, purpose).length > 0);
    assert.notEqual(served.length, 0, name);
    for (const purpose of served) {
      const allowed = schemesFor(name, purpose);
      assert.equal(new Set(allowed).size, allowed.length);
      for (const scheme of allowed) assert.equal(schemes[scheme].act, actOf[purpose], name);
      const defaults = defaultSchemes(name, purpose);
      assert.notEqual(defaults.length, 0, name);
      assert.ok(defaults.every((scheme) => allowed.includes(scheme)));
      assert.equal(defaults[0], allowed[0]);
    }
  }
});

test('every scheme is served by an algorithm', () => {
  for (const scheme of Object.keys(schemes) as SchemeName[]) {
    assert.ok(
      algorithmNames.some((name) => supportsScheme(name, scheme)),
      scheme,
    );
  }
});

test('no two algorithms look alike to node:crypto, except secret keys of one size', () => {
  const seen = new Set<string>();
  for (const name of algorithmNames) {
    const row: AlgorithmRow = algorithms[name];
    if (row.kind === 'symmetric') continue;
    assert.equal(seen.has(JSON.stringify(row.node)), false, name);
    seen.add(JSON.stringify(row.node));
  }
});

test('PKCS#1 v1.5 but for CAs, and plain AES-GCM, are there only for those who ask', () => {
  for (const purpose of purposes) {
    for (const name of algorithmNames) {
      for (const scheme of defaultSchemes(name, purpose)) {
        assert.equal(scheme.startsWith('rsa-pkcs1'), purpose === 'ca' && name.startsWith('rsa'));
        assert.equal(usesMaximum(scheme), undefined);
      }
    }
  }
  assert.ok(schemesFor('rsa-3072', 'sign').includes('rsa-pkcs1-sha256'));
  assert.ok(schemesFor('rsa-3072', 'ca').includes('rsa-pss-sha256'));
  assert.equal(usesMaximum('aes-256-gcm'), 2 ** 32);
});

test('names that are not in the tables are not known, whatever objects inherit', () => {
  for (const name of ['', 'RSA-2048', 'rsa-1024', 'constructor', '__proto__', 'toString']) {
    assert.equal(isAlgorithm(name), false);
    assert.equal(algorithmOf(name), undefined);
    assert.equal(isScheme(name), false);
  }
  assert.equal(algorithmOf('p-256')?.securityBits, 128);
  assert.deepEqual(schemesFor('p-256', 'encrypt'), []);
  assert.deepEqual(defaultSchemes('x25519', 'sign'), []);
  assert.deepEqual(schemesFor('p-256', 'toString' as Purpose), []);
});
