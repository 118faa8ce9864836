import assert from 'node:assert/strict';
import { test } from 'node:test';
import { derTags, encodeDer } from '../../der/der.ts';
import {
  bits,
  distributionPoint,
  type HandParts,
  handMade,
  integerOf,
  oidOf,
  sequenceOf,
} from './lint.fixture.ts';
import { lintCertificate } from './lint.ts';
import {
  authority,
  below,
  breaks,
  general,
  ids,
  issuer,
  leaf,
  leafExtensions,
  server,
  tested,
  utc,
  varied,
  withExtension,
} from './lint-cases.fixture.ts';
import { structureRules } from './lint-structure.ts';

test('certificates made by hand that break no rule pass', () => {
  lintCertificate(handMade(leaf), issuer, server);
  lintCertificate(handMade(authority), issuer, below);
  const full = withExtension(
    leaf,
    [ids.crl, false, distributionPoint('http://pki.example/1.crl')],
    [ids.policies, false, sequenceOf(sequenceOf(oidOf('1.2.3')))],
  );
  lintCertificate(handMade(full), issuer, varied(server, { policies: ['1.2.3'] }));
});

const times = (from: Buffer, to: Buffer): HandParts => ({
  ...leaf,
  validity: sequenceOf(from, to),
});

breaks('well-formed', 'bytes that are no DER', {
  parts: { ...leaf, spki: Buffer.from('010101', 'hex') },
});
breaks('well-formed', 'a length that is not minimal', {
  parts: { ...leaf, serial: Buffer.from('02810941020304050607080a', 'hex') },
});
breaks('well-formed', 'a number in the place of the subject', {
  parts: { ...leaf, subject: integerOf('01') },
});
breaks('well-formed', 'an extension with something behind its value', {
  parts: withExtension(leaf, [
    ids.keyUsage,
    true,
    Buffer.concat([bits(0), Buffer.from('0500', 'hex')]),
  ]),
});
breaks('version-is-3', 'version 2', {
  parts: { ...leaf, version: encodeDer(derTags.contextConstructed(0), integerOf('01')) },
});
breaks('version-is-3', 'version 1, which is left out', {
  parts: { ...leaf, version: Buffer.alloc(0) },
});
breaks('serial-is-positive', 'a negative one', {
  parts: { ...leaf, serial: integerOf('8102030405060708090a') },
});
breaks('serial-is-positive', 'zero', { parts: { ...leaf, serial: integerOf('00') } });
breaks('serial-has-20-octets-at-most', '21 octets', {
  parts: { ...leaf, serial: integerOf('41'.repeat(21)) },
});
breaks('serial-has-64-bits-at-least', '7 octets', {
  parts: { ...leaf, serial: integerOf('41'.repeat(7)) },
});
breaks('times-have-their-form', 'GeneralizedTime before 2050', {
  parts: times(general('20260601120000Z'), utc('260701120000Z')),
});
breaks('no-unique-identifiers', 'one of the subject', {
  parts: { ...leaf, behind: [encodeDer(derTags.context(2), Buffer.from([0, 1]))] },
});
breaks('extensions-are-there', 'none', {
  parts: (({ extensions: _, ...rest }) => rest)(leaf),
});
breaks('extensions-stand-once', 'one that is there twice', {
  parts: { ...leaf, extensions: [...leafExtensions, leafExtensions[1]!] },
});
breaks('no-empty-lists', 'extended key usages', {
  parts: withExtension(leaf, [ids.extendedKeyUsage, false, sequenceOf()]),
});
breaks('no-empty-lists', 'an empty distribution point', {
  parts: withExtension(leaf, [ids.crl, false, sequenceOf(sequenceOf())]),
});

test('every rule of this kind has a test that breaks it', () => {
  assert.deepEqual(
    [...tested].sort(),
    ['well-formed', ...structureRules.map(({ name }) => name)].sort(),
  );
});
