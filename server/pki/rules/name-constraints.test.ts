import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Certificate,
  type GeneralName,
  parseGeneralName,
  parseName,
} from '../../x509/x509.ts';
import { checkNames } from './name-constraints.ts';
import {
  authorityBelow,
  builtIn,
  constraints,
  issuerFacts,
  planned,
  refused,
  rootAuthority,
  signed,
  wanted,
} from './rules.fixture.ts';

interface Limits {
  readonly permitted?: readonly string[];
  readonly excluded?: readonly string[];
}

const plain = rootAuthority().chain[0]!;

/** A CA with these constraints, written and read as in a certificate. */
function limited({ permitted = [], excluded = [] }: Limits): Certificate {
  const nameConstraints = constraints(permitted, excluded);
  return rootAuthority({ nameConstraints }).chain[0]!;
}

function check(chain: readonly Certificate[], names: readonly string[], subject = ''): void {
  checkNames(
    {
      subject: subject === '' ? [] : parseName(subject),
      names: names.map((name) => parseGeneralName(name)),
    },
    chain,
  );
}

function passes(limits: Limits, names: readonly string[], subject = ''): void {
  check([limited(limits)], names, subject);
}

function fails(limits: Limits, names: readonly string[], subject = ''): void {
  refused('subject-not-allowed', /outside: a CA above (permits|excludes)/, () =>
    check([limited(limits)], names, subject),
  );
}

test('without constraints every name passes', () => {
  check([plain], ['dns:example.org', 'ip:::1', 'email:a@example.org', 'uri:urn:x:y'], 'CN=x');
});

test('a DNS constraint holds a domain and all below it', () => {
  const limits = { permitted: ['dns:example.org'] };
  passes(limits, ['dns:example.org', 'dns:www.example.org', 'dns:a.b.example.org']);
  passes(limits, ['dns:*.example.org']);
  for (const name of ['example.com', 'badexample.org', 'org', 'example.org.evil.com']) {
    fails(limits, [`dns:${name}`]);
    fails(limits, ['dns:www.example.org', `dns:${name}`]);
  }
  fails({ permitted: ['dns:www.example.org'] }, ['dns:*.example.org']);
  // It says nothing of names of other kinds.
  passes(limits, ['ip:192.0.2.1', 'email:ada@example.com']);
});

test('a DNS constraint with a leading dot asks for one label more', () => {
  const limits = { permitted: ['dns:.example.org'] };
  passes(limits, ['dns:www.example.org']);
  fails(limits, ['dns:example.org']);
  fails({ excluded: ['dns:.example.org'] }, ['dns:www.example.org']);
  // Readers differ about the domain itself: excluded, it stays out.
  fails({ excluded: ['dns:.example.org'] }, ['dns:example.org']);
});

test('an excluded DNS name is out, also by a wildcard that covers it', () => {
  const limits = { permitted: ['dns:example.org'], excluded: ['dns:secret.example.org'] };
  passes(limits, ['dns:www.example.org', 'dns:*.www.example.org']);
  fails(limits, ['dns:secret.example.org']);
  fails(limits, ['dns:a.secret.example.org']);
  fails(limits, ['dns:*.secret.example.org']);
  fails(limits, ['dns:*.example.org']);
  passes({ excluded: ['dns:a.secret.example.org'] }, ['dns:*.example.org']);
});

test('an empty constraint stands for every name of its kind', () => {
  for (const [kind, name] of [
    ['dns', 'dns:example.org'],
    ['email', 'email:ada@example.org'],
    ['uri', 'uri:https://example.org/'],
  ] as const) {
    passes({ permitted: [`${kind}:`] }, [name]);
    fails({ excluded: [`${kind}:`] }, [name]);
  }
  fails({ excluded: ['ip:0.0.0.0/0'] }, ['ip:192.0.2.1']);
  passes({ excluded: ['ip:0.0.0.0/0'] }, ['ip:2001:db8::1']);
});

test('a common name that looks like a DNS name is held to DNS constraints where no DNS name is', () => {
  const limits = { permitted: ['dns:example.org'] };
  passes(limits, [], 'CN=www.example.org');
  passes(limits, [], 'CN=Example Ltd.');
  passes(limits, ['dns:www.example.org'], 'CN=other.example');
  fails(limits, [], 'CN=www.example.com');
  // openssl holds these to the constraint, or takes them for hosts of that domain, or both.
  for (const text of [
    'a_b.example.com',
    'f*.example.com',
    '*.example.com',
    'example.com.',
    'a.1',
  ]) {
    fails(limits, [], `CN=${text}`);
  }
  passes(limits, [], 'CN=a_b.example.org');
  fails({ excluded: ['dns:xn--bcher-kva.example'] }, [], 'CN=b\u00fccher.example');
  fails(limits, ['ip:192.0.2.1'], 'CN=WWW.example.com');
});

test('an address constraint holds a network', () => {
  const limits = { permitted: ['ip:10.20.0.0/14', 'ip:2001:db8::/33'] };
  passes(limits, ['ip:10.20.0.1', 'ip:10.23.255.255', 'ip:2001:db8:7fff::1']);
  for (const address of ['10.24.0.0', '10.19.255.255', '2001:db8:8000::', '192.0.2.1']) {
    fails(limits, [`ip:${address}`]);
  }
  fails({ permitted: ['ip:10.0.0.0/8'] }, ['ip:2001:db8::1']);
  fails({ excluded: ['ip:192.0.2.7/32'] }, ['ip:192.0.2.7']);
  passes({ excluded: ['ip:192.0.2.7/32'] }, ['ip:192.0.2.6']);
  fails({ excluded: ['ip:10.0.0.0/8'] }, ['ip:::ffff:10.1.2.3']);
});

test('a mail constraint holds a mailbox, a host, or the hosts below a domain', () => {
  passes({ permitted: ['email:ada@example.org'] }, ['email:ada@EXAMPLE.org']);
  fails({ permitted: ['email:ada@example.org'] }, ['email:Ada@example.org']);
  fails({ permitted: ['email:ada@example.org'] }, ['email:bob@example.org']);
  fails({ excluded: ['email:ada@example.org'] }, ['email:ADA@example.org']);
  passes({ permitted: ['email:example.org'] }, ['email:ada@example.org']);
  fails({ permitted: ['email:example.org'] }, ['email:ada@mail.example.org']);
  passes({ permitted: ['email:.example.org'] }, ['email:ada@mail.example.org']);
  fails({ permitted: ['email:.example.org'] }, ['email:ada@example.org']);
  fails({ excluded: ['email:.example.org'] }, ['email:ada@a.b.example.org']);
});

test('mail addresses in the subject are held to mail constraints', () => {
  const limits = { permitted: ['email:example.org'] };
  passes(limits, [], 'emailAddress=ada@example.org,CN=Ada');
  fails(limits, [], 'emailAddress=ada@example.com,CN=Ada');
  fails(limits, ['email:ada@example.org'], 'emailAddress=ada@example.com,CN=Ada');
  fails(limits, [], 'emailAddress=no mailbox,CN=Ada');
});

test('a URI constraint holds the host, and refuses URIs without one', () => {
  const limits = { permitted: ['uri:example.org'] };
  passes(limits, ['uri:https://Example.org/x', 'uri:spiffe://example.org/service']);
  passes({ permitted: ['uri:.example.org'] }, ['uri:https://www.example.org:8443/']);
  for (const uri of [
    'https://www.example.org/',
    'https://example.com/example.org',
    'urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
    'https://192.0.2.1/',
  ]) {
    fails(limits, [`uri:${uri}`]);
  }
  fails({ excluded: ['uri:example.org'] }, ['uri:https://192.0.2.1/']);
  fails({ excluded: ['uri:.example.org'] }, ['uri:https://a.example.org/']);
});

test('a directory constraint holds the beginning of the subject', () => {
  const limits = { permitted: ['dn:O=Example,C=DE'] };
  passes(limits, [], 'CN=Ada,O=Example,C=DE');
  passes(limits, [], 'CN=Ada,O=EXAMPLE,C=DE');
  passes({ permitted: ['dn:O=Two  Words'] }, [], 'CN=Ada,O=two words');
  passes(limits, ['dns:www.example.com'], '');
  for (const subject of ['CN=Ada,C=DE', 'C=DE', 'CN=Ada,O=Examples,C=DE', 'C=DE,O=Example']) {
    fails(limits, [], subject);
  }
  fails({ excluded: ['dn:O=Example,C=DE'] }, [], 'CN=Ada,OU=x,O=example,C=DE');
  // What nobody sees does not lead around it.
  fails({ excluded: ['dn:O=Example,C=DE'] }, [], 'CN=Ada,O=Exam\u200bple,C=DE');
  fails({ excluded: ['dn:O=Example,C=DE'] }, [], 'CN=Ada,O=Exam\u00adple,C=DE');
  passes({ excluded: ['dn:O=Example,C=DE'] }, [], 'CN=Ada,O=Other,C=DE');
});

test('relative names of several attributes are compared as sets', () => {
  passes({ permitted: ['dn:O=Example+OU=Ops'] }, [], 'CN=x,OU=ops+O=example');
  fails({ permitted: ['dn:O=Example+OU=Ops'] }, [], 'CN=x,O=Example');
});

test('every CA of the chain is asked, from the issuer to the root', () => {
  const top = rootAuthority({ nameConstraints: constraints(['dns:example.org']) });
  const middle = authorityBelow(top, 'CN=Middle', {
    nameConstraints: constraints([], ['dns:secret.example.org']),
  });
  const { chain } = authorityBelow(middle, 'CN=Lower');
  check(chain, ['dns:www.example.org']);
  for (const name of ['www.example.com', 'secret.example.org']) {
    refused('subject-not-allowed', /outside/, () => check(chain, [`dns:${name}`]));
  }
});

test('two CAs whose permitted names have nothing in common permit none', () => {
  const chain = [
    limited({ permitted: ['dns:example.org'] }),
    limited({ permitted: ['dns:example.com'] }),
  ];
  for (const name of ['dns:www.example.org', 'dns:www.example.com']) {
    refused('subject-not-allowed', /outside/, () => check(chain, [name]));
  }
  check(chain, ['ip:192.0.2.1']);
});

test('a constraint that is not understood refuses everything', () => {
  const unknown: readonly GeneralName[] = [
    // A registered identifier, and an address with a mask that is no prefix.
    { kind: 'other', value: '88032a0304' },
    { kind: 'other', value: '87080a00000aff0000ff' },
    { kind: 'dns', value: 'exa_mple.org' },
    { kind: 'email', value: 'a b@example.org' },
    { kind: 'uri', value: 'https://example.org/' },
  ];
  for (const constraint of unknown) {
    for (const side of ['permitted', 'excluded'] as const) {
      const nameConstraints = { permitted: [], excluded: [], [side]: [constraint] };
      refused('subject-not-allowed', /not understood/, () =>
        check([{ ...limited({}), ...withConstraints(nameConstraints) }], ['ip:192.0.2.1']),
      );
    }
  }
});

test('an extension that stands there and was not read refuses everything', () => {
  const { extensions, ...certificate } = limited({ permitted: ['dns:example.org'] });
  const { nameConstraints, ...rest } = extensions;
  assert.ok(nameConstraints);
  refused('subject-not-allowed', /not understood/, () =>
    check([{ ...certificate, extensions: rest }], ['dns:www.example.org']),
  );
});

test('what a plan refuses by constraints is a whole certificate, CA or not', () => {
  const top = rootAuthority({ nameConstraints: constraints(['dn:O=Example', 'dns:example.org']) });
  const plan = (profile: string, subject: string, names: readonly string[] = []) =>
    planned(builtIn(profile), issuerFacts(top), wanted(subject, names));
  plan('tls-server', 'CN=www.example.org,O=Example', ['dns:www.example.org']);
  signed(plan('intermediate', 'CN=Below,O=Example'), top.key);
  refused('subject-not-allowed', /The subject is outside/, () => plan('intermediate', 'CN=Below'));
  refused('subject-not-allowed', /outside/, () => plan('tls-server', '', ['dns:example.com']));
});

function withConstraints(nameConstraints: {
  permitted: readonly GeneralName[];
  excluded: readonly GeneralName[];
}): Pick<Certificate, 'extensions' | 'rawExtensions'> {
  const extensions = { ...plain.extensions, nameConstraints };
  const raw = { oid: '2.5.29.30', critical: true, value: Buffer.alloc(0) };
  return { extensions, rawExtensions: [...plain.rawExtensions, raw] };
}
