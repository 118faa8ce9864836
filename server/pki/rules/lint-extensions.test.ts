import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { derTags, encodeDer } from '../../der/der.ts';
import { keyIdentifier } from '../../x509/x509.ts';
import {
  bits,
  distributionPoint,
  dnsNames,
  integerOf,
  nameOf,
  octets,
  oidOf,
  sequenceOf,
  uriName,
} from './lint.fixture.ts';
import {
  authority,
  authorityKeyId,
  below,
  breaks,
  ids,
  isTrue,
  leaf,
  server,
  spki,
  tested,
  unlimited,
  usageOids,
  varied,
  withExtension,
  without,
} from './lint-cases.fixture.ts';
import { extensionRules } from './lint-extensions.ts';
import { customProfile, exported } from './rules.fixture.ts';

const edwards = exported(generateKeyPairSync('ed25519')).spki;

breaks('no-unknown-extensions', 'a critical one', {
  parts: withExtension(leaf, ['1.2.3.4', true, Buffer.from('0500', 'hex')]),
});
breaks('critical-is-what-has-to-be', 'a key usage that is not', {
  parts: withExtension(leaf, [ids.keyUsage, false, bits(0)]),
});
breaks('critical-is-what-has-to-be', 'a key identifier that is', {
  parts: withExtension(leaf, [ids.subjectKeyId, true, octets(keyIdentifier(spki))]),
});
breaks('critical-is-what-has-to-be', 'name constraints that are not', {
  parts: withExtension(authority, [
    ids.nameConstraints,
    false,
    sequenceOf(encodeDer(derTags.contextConstructed(0), dnsNames('example.org'))),
  ]),
  by: below,
});
breaks('authority-is-as-the-profile-has-it', 'a CA by a profile of servers', {
  parts: withExtension(leaf, [ids.basicConstraints, true, sequenceOf(isTrue)]),
});
breaks('authority-is-as-the-profile-has-it', 'no CA by a profile of CAs', {
  parts: without(authority, ids.basicConstraints),
  by: below,
});
breaks('path-length-is-an-authoritys', 'a path length without CA', {
  parts: withExtension(leaf, [ids.basicConstraints, true, sequenceOf(integerOf('00'))]),
});
breaks('path-length-is-an-authoritys', 'a path length without keyCertSign', {
  parts: withExtension(authority, [ids.keyUsage, true, bits(6)]),
  by: below,
});
breaks('path-length-is-inside-the-issuers', 'as long as the issuer\u2019s', {
  parts: withExtension(authority, [
    ids.basicConstraints,
    true,
    sequenceOf(isTrue, integerOf('01')),
  ]),
  by: below,
});
breaks('path-length-is-inside-the-issuers', 'unlimited', {
  parts: withExtension(authority, [ids.basicConstraints, true, sequenceOf(isTrue)]),
  by: below,
});
breaks('path-length-is-as-the-profile-has-it', 'longer than it says', {
  parts: withExtension(authority, [
    ids.basicConstraints,
    true,
    sequenceOf(isTrue, integerOf('05')),
  ]),
  by: varied(below, { pathLengthMax: 0 }),
  issuer: unlimited,
});
breaks('key-usage-is-as-the-profile-has-it', 'another one', {
  parts: withExtension(leaf, [ids.keyUsage, true, bits(0, 1)]),
});
breaks('key-usage-is-as-the-profile-has-it', 'none', { parts: without(leaf, ids.keyUsage) });
breaks('certificates-are-signed-by-authorities', 'keyCertSign without CA', {
  parts: withExtension(leaf, [ids.keyUsage, true, bits(0, 5)]),
  by: varied(server, { keyUsage: ['digitalSignature', 'keyCertSign'] }),
});
breaks('certificates-are-signed-by-authorities', 'a CA without keyCertSign', {
  parts: withExtension(
    authority,
    [ids.keyUsage, true, bits(6)],
    [ids.basicConstraints, true, sequenceOf(isTrue)],
  ),
  by: below,
  issuer: unlimited,
});
breaks('key-usage-fits-the-key', 'keyEncipherment for an elliptic curve', {
  parts: withExtension(leaf, [ids.keyUsage, true, bits(0, 2)]),
  by: varied(server, { keyUsage: ['digitalSignature', 'keyEncipherment'] }),
});
breaks('key-usage-fits-the-key', 'keyAgreement for Ed25519', {
  parts: withExtension({ ...leaf, spki: edwards }, [ids.keyUsage, true, bits(0, 4)]),
  by: varied(server, { keyUsage: ['digitalSignature', 'keyAgreement'] }),
});
breaks('key-agreement-has-its-key-usage', 'encipherOnly alone', {
  parts: withExtension(leaf, [ids.keyUsage, true, bits(0, 7)]),
  by: varied(server, { keyUsage: ['digitalSignature', 'encipherOnly'] }),
});
breaks('extended-key-usage-is-as-the-profile-has-it', 'one too many', {
  parts: withExtension(leaf, [
    ids.extendedKeyUsage,
    false,
    sequenceOf(oidOf(usageOids.server), oidOf(usageOids.client)),
  ]),
});
breaks('extended-key-usage-is-as-the-profile-has-it', 'none', {
  parts: without(leaf, ids.extendedKeyUsage),
});
breaks('extended-key-usage-is-as-the-profile-has-it', 'critical where the profile is not', {
  parts: withExtension(leaf, [ids.extendedKeyUsage, true, sequenceOf(oidOf(usageOids.server))]),
});
breaks('no-any-extended-key-usage', 'there it is', {
  parts: withExtension(leaf, [ids.extendedKeyUsage, false, sequenceOf(oidOf('2.5.29.37.0'))]),
  by: varied(server, { extendedKeyUsage: ['2.5.29.37.0'] }),
});
breaks('timestamping-is-critical-and-alone', 'not critical', {
  parts: withExtension(leaf, [ids.extendedKeyUsage, false, sequenceOf(oidOf(usageOids.timestamp))]),
  by: varied(server, { extendedKeyUsage: ['timeStamping'] }),
});
breaks('timestamping-is-critical-and-alone', 'not alone', {
  parts: withExtension(leaf, [
    ids.extendedKeyUsage,
    true,
    sequenceOf(oidOf(usageOids.timestamp), oidOf(usageOids.server)),
  ]),
  by: varied(server, {
    extendedKeyUsage: ['timeStamping', 'serverAuth'],
    extendedKeyUsageCritical: true,
  }),
});
breaks('no-check-is-for-responders', 'a server that nobody asks about', {
  parts: withExtension(leaf, [ids.noCheck, false, Buffer.from('0500', 'hex')]),
  by: varied(server, { ocspNoCheck: true }),
});
breaks('no-check-is-for-responders', 'a responder without it', {
  parts: withExtension(leaf, [ids.extendedKeyUsage, false, sequenceOf(oidOf(usageOids.responder))]),
  by: varied(server, { extendedKeyUsage: ['OCSPSigning'], ocspNoCheck: true }),
});
breaks('names-are-critical-without-subject', 'names that are not', {
  parts: { ...leaf, subject: nameOf('') },
});
breaks('names-are-critical-without-subject', 'names that are, beside a subject', {
  parts: withExtension(leaf, [ids.names, true, dnsNames('www.example.org')]),
});
breaks('names-are-critical-without-subject', 'neither', {
  parts: { ...without(leaf, ids.names), subject: nameOf('') },
  by: customProfile({ extendedKeyUsage: ['serverAuth'] }),
});
breaks('subject-key-is-identified', 'it is missing', { parts: without(leaf, ids.subjectKeyId) });
breaks('authority-key-is-the-issuers', 'it is missing', {
  parts: without(leaf, ids.authorityKeyId),
});
breaks('authority-key-is-the-issuers', 'another one', {
  parts: withExtension(leaf, [ids.authorityKeyId, false, authorityKeyId(Buffer.alloc(20))]),
});
breaks('authority-key-is-the-issuers', 'a root that names another key', {
  parts: { ...authority, issuer: authority.subject },
  by: below,
  issuer: undefined,
});
breaks('name-constraints-are-an-authoritys', 'in a certificate that is none', {
  parts: withExtension(leaf, [
    ids.nameConstraints,
    true,
    sequenceOf(
      encodeDer(
        derTags.contextConstructed(0),
        sequenceOf(encodeDer(derTags.context(2), Buffer.from('a'))),
      ),
    ),
  ]),
});
breaks('addresses-are-plain-http', 'CRLs over TLS', {
  parts: withExtension(leaf, [ids.crl, false, distributionPoint('https://pki.example/1.crl')]),
});
breaks('addresses-are-plain-http', 'the issuer\u2019s certificate by LDAP', {
  parts: withExtension(leaf, [
    ids.access,
    false,
    sequenceOf(sequenceOf(oidOf('1.3.6.1.5.5.7.48.2'), uriName('ldap://pki.example/cn=x'))),
  ]),
});
breaks('policies-are-as-the-profile-has-them', 'one too many', {
  parts: withExtension(leaf, [ids.policies, false, sequenceOf(sequenceOf(oidOf('1.2.3')))]),
});
breaks('policies-are-as-the-profile-has-them', 'one that is missing', {
  parts: leaf,
  by: varied(server, { policies: ['1.2.3'] }),
});

test('every rule of this kind has a test that breaks it', () => {
  assert.deepEqual([...tested].sort(), extensionRules.map(({ name }) => name).sort());
});
