import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import {
  dnsNames,
  type HandParts,
  nameOf,
  oidOf,
  rawName,
  sequenceOf,
  uriName,
} from './lint.fixture.ts';
import {
  authority,
  below,
  breaks,
  general,
  ids,
  leaf,
  server,
  tested,
  utc,
  varied,
  withExtension,
  without,
} from './lint-cases.fixture.ts';
import { nameRules } from './lint-names.ts';
import { exported } from './rules.fixture.ts';

const weak = exported(generateKeyPairSync('rsa', { modulusLength: 1024 })).spki;
const times = (from: Buffer, to: Buffer): HandParts => ({
  ...leaf,
  validity: sequenceOf(from, to),
});

breaks('signature-fits-issuer', 'a scheme for another kind of key', {
  parts: { ...leaf, algorithm: sequenceOf(oidOf('1.3.101.112')) },
});
breaks('signature-fits-issuer', 'SHA-1', {
  parts: { ...leaf, algorithm: sequenceOf(oidOf('1.2.840.10045.4.1')) },
});
breaks('issuer-is-named-byte-for-byte', 'the same name as other types of text', {
  parts: {
    ...leaf,
    issuer: rawName(['2.5.4.6', 'DE'], ['2.5.4.10', 'Example'], ['2.5.4.3', 'Example Root']),
  },
});
breaks('issuer-is-not-empty', 'a root without a name', {
  parts: { ...authority, issuer: nameOf(''), subject: nameOf('') },
  by: below,
  issuer: undefined,
});
breaks('validity-is-in-order', 'an end before the beginning', {
  parts: times(utc('260701120000Z'), utc('260601120000Z')),
});
breaks('validity-is-inside-the-issuers', 'a beginning before the issuer\u2019s', {
  parts: times(utc('250701120000Z'), utc('260701120000Z')),
});
breaks('validity-is-inside-the-issuers', 'an end after the issuer\u2019s', {
  parts: times(utc('260601120000Z'), general('20500101000000Z')),
});
breaks('validity-is-as-the-profile-has-it', 'a second too long', {
  parts: times(utc('260601120000Z'), utc('260601120100Z')),
  by: varied(server, { validitySeconds: 60, validitySecondsMax: 60 }),
});
breaks('public-key-is-sound', 'RSA of 1024 bits', { parts: { ...leaf, spki: weak } });
breaks('public-key-is-sound', 'an algorithm that the profile does not take', {
  parts: leaf,
  by: varied(server, { algorithms: ['ed25519'] }),
});
breaks('subject-is-well-formed', 'a common name of 65 characters', {
  parts: { ...leaf, subject: rawName(['2.5.4.3', 'x'.repeat(65)]) },
});
breaks('subject-is-well-formed', 'a country of three letters', {
  parts: { ...leaf, subject: rawName(['2.5.4.6', 'DEU']) },
});
breaks('subject-is-as-the-profile-has-it', 'an attribute too many', {
  parts: { ...leaf, subject: nameOf('GN=Ada') },
});
breaks('subject-is-as-the-profile-has-it', 'a required one is missing', {
  parts: { ...authority, subject: nameOf('O=Example') },
  by: below,
});
breaks('subject-says-things-once', 'two organisations', {
  parts: { ...leaf, subject: nameOf('O=a,O=b') },
});
breaks('authority-has-a-subject', 'none', {
  parts: { ...authority, subject: nameOf('') },
  by: varied(below, { subject: { allowed: [] } }),
});
breaks('names-are-well-formed', 'an underscore', {
  parts: withExtension(leaf, [ids.names, false, dnsNames('a_b.example.org')]),
});
breaks('names-are-well-formed', 'a wildcard over a top-level domain', {
  parts: withExtension(leaf, [ids.names, false, dnsNames('*.org')]),
});
breaks('names-stand-once', 'one that is there twice', {
  parts: withExtension(leaf, [ids.names, false, dnsNames('www.example.org', 'www.example.org')]),
});
breaks('names-are-as-the-profile-has-them', 'a kind too many', {
  parts: withExtension(leaf, [ids.names, false, sequenceOf(uriName('https://example.org/'))]),
});
breaks('names-are-as-the-profile-has-them', 'none where one is required', {
  parts: without(leaf, ids.names),
});
breaks('names-are-as-the-profile-has-them', 'a wildcard', {
  parts: withExtension(leaf, [ids.names, false, dnsNames('*.example.org')]),
  by: varied(server, { names: { ...server.names, wildcards: false } }),
});
breaks('common-name-is-a-name', 'another one', {
  parts: { ...leaf, subject: nameOf('CN=mail.example.org') },
});
breaks('common-name-is-a-name', 'in another spelling', {
  parts: { ...leaf, subject: nameOf('CN=WWW.example.org') },
});
breaks('names-keep-the-issuers-constraints', 'an excluded one', {
  parts: {
    ...withExtension(leaf, [ids.names, false, dnsNames('www.example.com')]),
    subject: nameOf('O=Example'),
  },
});

test('every rule of this kind has a test that breaks it', () => {
  assert.deepEqual([...tested].sort(), nameRules.map(({ name }) => name).sort());
});
