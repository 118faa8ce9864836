import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { algorithmNames, algorithms, type SchemeName, schemes } from '../../api/algorithms.ts';
import { schemeOf, signatureAlgorithm } from './algorithms.ts';
import { spkiAlgorithm } from './x509.ts';

const signing = (Object.keys(schemes) as SchemeName[]).filter(
  (name) => schemes[name].act === 'sign',
);

test('every scheme that signs has an identifier of its own, and no other has one', () => {
  const seen = new Set<string>();
  for (const scheme of signing) {
    const encoded = signatureAlgorithm(scheme);
    assert.equal(schemeOf(encoded), scheme);
    seen.add(encoded.toString('hex'));
  }
  assert.equal(seen.size, signing.length);
  assert.throws(() => signatureAlgorithm('ecdh'), TypeError);
});

test('parameters other than those of a scheme make it none of ours', () => {
  const pss = signatureAlgorithm('rsa-pss-sha256').toString('hex');
  const sha256 = '300d06096086480165030402010500';
  const spoiled = {
    'ECDSA with NULL': '300c06082a8648ce3d0403020500',
    'Ed25519 with NULL': '300706032b65700500',
    'RSA with SHA-1': '300d06092a864886f70d0101050500',
    'RSA with another parameter': '300d06092a864886f70d01010b0400',
    'PSS without parameters': '300b06092a864886f70d01010a',
    'PSS with the defaults': '300d06092a864886f70d01010a3000',
    'PSS with a salt of another length': pss.replace(/020120$/, '020114'),
    'PSS with two hashes': pss.replace(sha256, sha256.replace('0402010500', '0402020500')),
  };
  for (const [what, hex] of Object.entries(spoiled)) {
    assert.notEqual(hex, pss, what);
    assert.equal(schemeOf(Buffer.from(hex, 'hex')), undefined, what);
  }
  // RFC 4055, sections 2.1 and 5: readers take the parameters of a hash, and of PKCS #1, left out.
  assert.equal(schemeOf(Buffer.from('300b06092a864886f70d01010b', 'hex')), 'rsa-pkcs1-sha256');
});

test('keys of every algorithm are told by their public half', () => {
  const quick = algorithmNames.filter((name) => {
    const { node } = algorithms[name];
    return node.type !== 'secret' && !name.startsWith('rsa') && !/-(192|256)s$/.test(name);
  });
  for (const name of quick) {
    const { node } = algorithms[name];
    const { publicKey } =
      node.type === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: node.curve })
        : generateKeyPairSync((node as { name: string }).name as 'ed25519');
    const read = spkiAlgorithm(publicKey.export({ format: 'der', type: 'spki' }));
    assert.equal(read.algorithm, name);
    assert.ok(read.key.equals(publicKey));
  }
});
