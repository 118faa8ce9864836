import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Profile } from '../../../api/profiles.ts';
import { type DistinguishedName, formatName, type GeneralName } from '../../x509/x509.ts';
import { planNames } from './plan-names.ts';
import { builtIn, customProfile, refused, wanted } from './rules.fixture.ts';

const server = builtIn('tls-server');
const client = builtIn('tls-client');
const open = customProfile({});

function plan(profile: Profile, subject: string, names: readonly string[] = []) {
  const planned = planNames(profile, wanted(subject, names));
  return {
    subject: formatName(planned.subject),
    names: planned.names.map(({ kind, value }) => `${kind}:${value}`),
  };
}

function planRaw(profile: Profile, names: readonly GeneralName[], subject?: DistinguishedName) {
  return planNames(profile, { subject: subject ?? [], names }).names.map(({ value }) => value);
}

const attribute = (type: string, value: string): DistinguishedName => [[{ type, value }]];
const commonName = (value: string) => attribute('2.5.4.3', value);

test('a subject has what the profile takes, and all that it requires', () => {
  refused('subject-not-allowed', /has GN, which the profile tls-server/, () =>
    plan(server, 'CN=www.example.org,GN=Ada', ['dns:www.example.org']),
  );
  refused('subject-not-allowed', /attribute 1\.2\.3\.4/, () =>
    planRaw(open, [], attribute('1.2.3.4', 'x')),
  );
  refused('subject-not-allowed', /lacks CN/, () => plan(builtIn('code-signing'), 'O=Example'));
  refused('subject-not-allowed', /without attributes/, () => planRaw(open, [], [[]]));
});

test('an attribute stands once, but for units, streets and domain components', () => {
  refused('subject-not-allowed', /O twice/, () => plan(open, 'CN=x,O=a,O=b'));
  assert.equal(plan(open, 'CN=x,OU=a,OU=b,DC=example,DC=org').names.length, 0);
});

test('values of attributes that are empty, too long or not of their form are refused', () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['2.5.4.3', '', /CN of the subject is empty/],
    ['2.5.4.3', 'x'.repeat(65), /longer than 64/],
    ['2.5.4.10', 'x'.repeat(65), /longer than 64/],
    ['2.5.4.6', 'DEU', /longer than 2/],
    ['2.5.4.6', 'de', /two capital letters/],
    ['2.5.4.6', '12', /two capital letters/],
    ['2.5.4.5', 'a_b', /letters, digits and plain signs/],
    ['2.5.4.3', ' x', /begins or ends with a space/],
    ['2.5.4.3', '-', /neither letter nor digit/],
    ['2.5.4.3', 'a\u0000b', /cannot be seen/],
    ['2.5.4.3', 'a\nb', /cannot be seen/],
    ['2.5.4.3', 'a\u202eb', /cannot be seen/],
    ['2.5.4.3', 'a\u200bb', /cannot be seen/],
    ['2.5.4.3', 'a\u00adb', /cannot be seen/],
    ['2.5.4.3', 'a\ud800b', /cannot be seen/],
    ['0.9.2342.19200300.100.1.25', 'a.b', /one label/],
    ['1.2.840.113549.1.9.1', 'no mail', /mail address/],
  ];
  for (const [type, value, reason] of cases) {
    refused('subject-not-allowed', reason, () => planRaw(open, [], attribute(type, value)));
  }
  // Characters count, not code units.
  planRaw(open, [], commonName('\u{1f511}x'.repeat(32)));
});

test('a name is of a kind that the profile takes', () => {
  refused('subject-not-allowed', /email:ada@example\.org is refused: .* takes dns, ip/, () =>
    plan(server, '', ['dns:example.org', 'email:ada@example.org']),
  );
  refused('subject-not-allowed', /takes no names/, () =>
    plan(builtIn('intermediate'), 'CN=x', ['dns:example.org']),
  );
  for (const kind of ['dn', 'other'] as const) {
    refused('subject-not-allowed', /is refused/, () => planRaw(open, [{ kind, value: 'CN=x' }]));
  }
});

test('a profile that requires a name gets one, and nothing at all is refused by every profile', () => {
  refused('subject-not-allowed', /needs a name/, () => plan(server, 'O=Example'));
  refused('subject-not-allowed', /neither a subject nor a name/, () => plan(client, ''));
  assert.deepEqual(plan(client, '', ['dns:example.org']).names, ['dns:example.org']);
});

test('a CA has a subject, whatever its profile requires', () => {
  const profile = customProfile({ isAuthority: true, keyUsage: ['keyCertSign'] });
  refused('subject-not-allowed', /A CA has to have a subject/, () =>
    plan(profile, '', ['dns:example.org']),
  );
});

test('DNS names are letters, digits and hyphens in labels of 63, names of 253', () => {
  const longLabel = 'a'.repeat(63);
  const longest = [longLabel, longLabel, longLabel, 'a'.repeat(61)].join('.');
  assert.equal(longest.length, 253);
  const good = [
    'example.org',
    'localhost',
    'a-b.example',
    '1.example',
    longest,
    'xn--bcher-kva.de',
  ];
  for (const value of good) assert.deepEqual(planRaw(open, [{ kind: 'dns', value }]), [value]);
  assert.deepEqual(planRaw(open, [{ kind: 'dns', value: 'WWW.Example.ORG' }]), ['www.example.org']);
  const bad = [
    '',
    '.example.org',
    'example.org.',
    'a..b',
    '-a.example',
    'a-.example',
    'a_b.example',
    'a b.example',
    'b\u00fccher.example',
    `${longLabel}a.example`,
    `a.${longest}`,
    'example.org\u0000.example',
    'a.example/x',
    '192.0.2.1',
    'example.123',
    'ab--cd.example',
    'xn--.example',
    'xn--a.example',
  ];
  for (const value of bad) {
    refused('subject-not-allowed', /./, () => planRaw(open, [{ kind: 'dns', value }]));
  }
});

test('a wildcard is a whole first label with two labels below, where the profile takes it', () => {
  assert.deepEqual(plan(server, '', ['dns:*.example.org']).names, ['dns:*.example.org']);
  refused('subject-not-allowed', /is a wildcard, which/, () =>
    plan(builtIn('tls-peer'), '', ['dns:*.example.org']),
  );
  for (const value of [
    '*',
    '*.org',
    '*.*.example.org',
    'w*.example.org',
    'a.*.example.org',
    '*.',
  ]) {
    refused('subject-not-allowed', /./, () => planRaw(server, [{ kind: 'dns', value }]));
  }
});

test('addresses have one spelling', () => {
  const spelled = (value: string) => planRaw(open, [{ kind: 'ip', value }])[0];
  assert.equal(spelled('2001:DB8:0:0:0:0:0:1'), '2001:db8::1');
  assert.equal(spelled('192.0.2.1'), '192.0.2.1');
  for (const value of ['192.0.2.1/24', '192.0.2', 'fe80::1%eth0', '0300.0.2.1', 'example.org']) {
    refused('subject-not-allowed', /is no address/, () => spelled(value));
  }
});

test('mail addresses are plain mailboxes, their hosts in lower case', () => {
  const mail = (value: string) => planRaw(open, [{ kind: 'email', value }])[0];
  assert.equal(mail('Ada.Lovelace+x@Example.ORG'), 'Ada.Lovelace+x@example.org');
  const bad = [
    'ada',
    '@example.org',
    'ada@',
    '"a b"@example.org',
    'a..b@example.org',
    '.a@example.org',
    'a@b@example.org',
    'a@[192.0.2.1]',
    'a@192.0.2.1',
    `${'a'.repeat(65)}@example.org`,
    'ada\u0000@example.org',
    'Ada <ada@example.org>',
  ];
  for (const value of bad) refused('subject-not-allowed', /mail address/, () => mail(value));
});

test('URIs are absolute, in ASCII, without user information', () => {
  const uri = (value: string) => planRaw(open, [{ kind: 'uri', value }])[0];
  const good = [
    'spiffe://example.org/service',
    'urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
    'https://example.org:8443/a?b#c',
    'http://[2001:db8::1]/',
    'https://example.org/%20',
  ];
  for (const value of good) assert.equal(uri(value), value);
  const bad = [
    '/path',
    'example.org/x',
    'https:',
    'https://user@example.org/',
    'https://ex ample.org/',
    'https://example.org\\@other.example/',
    'https://example_.org/',
    'https://example.org/\u0000',
    'https://example.org/%2',
    'https://b\u00fccher.example/',
    'https://example.org:port/',
  ];
  for (const value of bad) refused('subject-not-allowed', /absolute URI/, () => uri(value));
});

test('a name that is given twice is in the certificate once', () => {
  assert.deepEqual(
    plan(server, '', ['dns:example.org', 'dns:EXAMPLE.org', 'ip:::1', 'ip:0:0::1']).names,
    ['dns:example.org', 'ip:::1'],
  );
});

test('a certificate has a hundred names at most', () => {
  const names = (count: number) => Array.from({ length: count }, (_, at) => `dns:h${at}.example`);
  assert.equal(plan(server, '', names(100)).names.length, 100);
  refused('subject-not-allowed', /101 names, more than 100/, () => plan(server, '', names(101)));
});

test('a request with a common name alone gets it as its name', () => {
  assert.deepEqual(plan(server, 'CN=www.example.org').names, ['dns:www.example.org']);
  assert.deepEqual(plan(server, 'CN=localhost').names, ['dns:localhost']);
  assert.deepEqual(plan(server, 'CN=192.0.2.1').names, ['ip:192.0.2.1']);
  assert.deepEqual(plan(server, 'CN=*.example.org').names, ['dns:*.example.org']);
  // A profile that does not say so leaves the common name alone.
  assert.deepEqual(plan(client, 'CN=www.example.org').names, []);
});

test('a common name and the name it stands for are spelled alike', () => {
  assert.equal(plan(server, 'CN=WWW.Example.org').subject, 'CN=www.example.org');
  assert.deepEqual(plan(server, 'CN=b\u00fccher.example'), {
    subject: 'CN=xn--bcher-kva.example',
    names: ['dns:xn--bcher-kva.example'],
  });
  assert.equal(plan(server, 'CN=2001:DB8::0', ['ip:2001:db8::']).subject, 'CN=2001:db8::');
});

test('a common name that looks like a name has to be one of the names', () => {
  for (const text of [
    'other.example.org',
    '*.example.org',
    '192.0.2.1',
    'a_b.example',
    'b\u00fc.de',
  ]) {
    refused('subject-not-allowed', /looks like a name/, () =>
      plan(server, `CN=${text}`, ['dns:www.example.org']),
    );
  }
  for (const text of ['Example Ltd.', 'web server', 'server']) {
    assert.deepEqual(plan(server, `CN=${text}`, ['dns:www.example.org']).names, [
      'dns:www.example.org',
    ]);
  }
});

test('a common name that is no name does not become one', () => {
  for (const text of ['Example Ltd.', 'web server', 'a_b']) {
    refused('subject-not-allowed', /needs a name/, () => plan(server, `CN=${text}`));
  }
  refused('subject-not-allowed', /label/, () => plan(server, 'CN=a_b.example'));
});
