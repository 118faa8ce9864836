import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyIdentifier } from '../../x509/x509.ts';
import {
  authorityBelow,
  builtIn,
  constraints,
  customProfile,
  issuerFacts,
  keyPair,
  planned,
  refused,
  rootAuthority,
  signed,
  type TestAuthority,
  wanted,
} from './rules.fixture.ts';

const below = builtIn('intermediate');

function lengthOf(parent: TestAuthority, pathLength?: number): number | undefined {
  const asked = wanted('CN=New,O=Example', [], { pathLength });
  return planned(below, issuerFacts(parent), asked).extensions.basicConstraints?.pathLength;
}

test('a CA gets the path length that the ones above leave', () => {
  assert.equal(lengthOf(rootAuthority()), undefined);
  assert.equal(lengthOf(rootAuthority(), 3), 3);
  const two = rootAuthority({ pathLength: 2 });
  assert.equal(lengthOf(two), 1);
  assert.equal(lengthOf(two, 0), 0);
  const one = authorityBelow(two);
  assert.equal(lengthOf(one), 0);
});

test('a path length beyond what the ones above leave is refused', () => {
  refused('path-length-exceeded', /can be 1 at most here, not 2/, () =>
    lengthOf(rootAuthority({ pathLength: 2 }), 2),
  );
  refused('path-length-exceeded', /no room/, () => lengthOf(rootAuthority({ pathLength: 0 })));
  const bottom = authorityBelow(authorityBelow(rootAuthority({ pathLength: 2 })), 'CN=Lower');
  refused('path-length-exceeded', /no room/, () => lengthOf(bottom));
  refused('path-length-exceeded', /whole number/, () => lengthOf(rootAuthority(), -1));
});

test('every CA above is asked, not the issuer alone', () => {
  // The one in the middle sets no limit of its own, as certificates from elsewhere may be.
  const top = rootAuthority({ pathLength: 1 });
  const middle = authorityBelow(top);
  const [certificate, ...above] = middle.chain;
  const unlimited = {
    ...certificate!,
    extensions: { ...certificate!.extensions, basicConstraints: { isAuthority: true } },
  };
  const chain = [unlimited, ...above];
  refused('path-length-exceeded', /no room/, () => lengthOf({ key: middle.key, chain }));
});

test('the profile limits the path length as well', () => {
  const profile = customProfile({
    isAuthority: true,
    pathLengthMax: 1,
    keyUsage: ['keyCertSign', 'cRLSign'],
  });
  const issuer = issuerFacts(rootAuthority());
  const plan = (pathLength?: number) =>
    planned(profile, issuer, wanted('CN=New', [], { pathLength })).extensions.basicConstraints;
  assert.deepEqual(plan(), { isAuthority: true, pathLength: 1 });
  refused('path-length-exceeded', /1 at most/, () => plan(2));
});

test('a certificate of a new key for the same CA takes no room', () => {
  const old = rootAuthority({ pathLength: 1 });
  // As one key of a CA certifies the next one: issuer and subject are the same name.
  const key = keyPair();
  const above = old.chain[0]!;
  const ids = {
    subjectKeyId: keyIdentifier(key.spki),
    authorityKeyId: keyIdentifier(above.spki),
  };
  const { serial, subject, notBefore, notAfter, extensions } = above;
  const fields = {
    ...{ serial, subject, notBefore, notAfter, issuer: subject, spki: key.spki },
    scheme: 'ecdsa-sha256' as const,
    extensions: { ...extensions, ...ids },
  };
  const renewed = { key, chain: [signed(fields, old.key), above] };
  assert.equal(lengthOf(renewed), 0);
  refused('path-length-exceeded', /0 at most/, () => lengthOf(renewed, 1));
});

test('below a chain that is too long already nothing is issued', () => {
  const bottom = authorityBelow(authorityBelow(rootAuthority()), 'CN=Lower');
  const [low, middle, first] = bottom.chain;
  const basicConstraints = { isAuthority: true, pathLength: 0 };
  const strict = { ...first!, extensions: { ...first!.extensions, basicConstraints } };
  const issuer = { ...issuerFacts(bottom), chain: [low!, middle!, strict] };
  refused('path-length-exceeded', /more CAs above/, () =>
    planned(builtIn('tls-client'), issuer, wanted('CN=x')),
  );
});

test('path length and constraints of a request count where none are given', () => {
  const issuer = issuerFacts(rootAuthority());
  const extensions = {
    basicConstraints: { isAuthority: true, pathLength: 2 },
    nameConstraints: constraints(['dns:example.org']),
  };
  const taken = planned(below, issuer, wanted('CN=New', [], { extensions })).extensions;
  assert.deepEqual(taken.basicConstraints, extensions.basicConstraints);
  assert.deepEqual(taken.nameConstraints, extensions.nameConstraints);
  const given = {
    extensions,
    pathLength: 0,
    nameConstraints: constraints([], ['dns:example.com']),
  };
  const replaced = planned(below, issuer, wanted('CN=New', [], given)).extensions;
  assert.equal(replaced.basicConstraints?.pathLength, 0);
  assert.deepEqual(replaced.nameConstraints, given.nameConstraints);
});

test('empty name constraints are left out, those that are not understood are refused', () => {
  const issuer = issuerFacts(rootAuthority());
  const plan = (nameConstraints: ReturnType<typeof constraints>) =>
    planned(below, issuer, wanted('CN=New', [], { nameConstraints })).extensions.nameConstraints;
  assert.equal(plan(constraints([])), undefined);
  refused('subject-not-allowed', /not understood/, () =>
    plan({ permitted: [{ kind: 'other', value: '8800' }], excluded: [] }),
  );
  refused('subject-not-allowed', /not understood/, () =>
    plan({ permitted: [], excluded: [{ kind: 'dns', value: 'exa mple.org' }] }),
  );
});
