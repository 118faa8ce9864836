import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { builtInProfiles } from '../../../api/profiles.ts';
import { caSettings } from '../../../api/routes/authorities.ts';
import { decodeName, encodeTbsCertificate, formatName, keyIdentifier } from '../../x509/x509.ts';
import { lintCertificate } from './lint.ts';
import { planCertificate } from './plan.ts';
import {
  authorityBelow,
  builtIn,
  customProfile,
  exported,
  issuerFacts,
  keyPair,
  now,
  planned,
  refused,
  rootAuthority,
  signed,
  wanted,
} from './rules.fixture.ts';
import { newSerial } from './serial.ts';

const root = rootAuthority();
const intermediate = authorityBelow(root);
const issuer = issuerFacts(intermediate);
const server = builtIn('tls-server');
const site = wanted('CN=www.example.org,O=Example', ['dns:www.example.org']);

test('a server certificate holds what its profile says and nothing else', () => {
  const fields = planned(server, issuer, site);
  assert.deepEqual(Object.keys(fields.extensions).sort(), [
    'authorityInfoAccess',
    'authorityKeyId',
    'crlDistributionPoints',
    'extendedKeyUsage',
    'keyUsage',
    'subjectAltNames',
    'subjectKeyId',
  ]);
  assert.deepEqual(fields.extensions.keyUsage, ['digitalSignature']);
  assert.deepEqual(fields.extensions.extendedKeyUsage, {
    usages: ['1.3.6.1.5.5.7.3.1'],
    critical: false,
  });
  assert.deepEqual(fields.extensions.authorityInfoAccess, {
    ocsp: [],
    caIssuers: ['http://pki.example/ca/1.crt'],
  });
  assert.deepEqual(fields.extensions.subjectKeyId, keyIdentifier(site.spki));
  assert.deepEqual(
    fields.extensions.authorityKeyId,
    intermediate.chain[0]!.extensions.subjectKeyId,
  );
  assert.deepEqual(fields.issuer, intermediate.chain[0]!.subject);
  assert.equal(formatName(decodeName(fields.subject)), 'CN=www.example.org,O=Example');
});

test('what is planned by each profile passes the linter', () => {
  for (const profile of builtInProfiles) {
    const names = profile.names.allowed.includes('dns') ? ['dns:www.example.org'] : [];
    const mail = profile.names.allowed.includes('email') ? ['email:ada@example.org'] : [];
    const asked = wanted('CN=www.example.org,O=Example', [...names, ...mail]);
    if (profile.name === 'root') continue;
    const tbs = encodeTbsCertificate(planned(profile, issuer, asked));
    lintCertificate(tbs, intermediate.chain[0]!, profile);
  }
  lintCertificate(root.chain[0]!.tbs, undefined, builtIn('root'));
  lintCertificate(intermediate.chain[0]!.tbs, root.chain[0]!, builtIn('intermediate'));
});

test('without addresses there is nothing that points to them', () => {
  const { extensions } = planned(server, { ...issuer, addresses: {} }, site);
  assert.equal(extensions.crlDistributionPoints, undefined);
  assert.equal(extensions.authorityInfoAccess, undefined);
});

test('a root is signed by its own key alone, and nothing else is', () => {
  const self = { self: true, scheme: 'ecdsa-sha256' } as const;
  const context = { now, serial: newSerial() };
  refused('profile-not-allowed', /Only a root/, () =>
    planCertificate(builtIn('intermediate'), self, wanted('CN=x'), context),
  );
  refused('profile-not-allowed', /never by a CA/, () =>
    planned(builtIn('root'), issuer, wanted('CN=x')),
  );
  const { extensions, ...fields } = planCertificate(builtIn('root'), self, wanted('CN=x'), context);
  assert.deepEqual(fields.issuer, fields.subject);
  assert.deepEqual(extensions.authorityKeyId, extensions.subjectKeyId);
  assert.deepEqual(extensions.basicConstraints, { isAuthority: true });
  assert.equal(extensions.crlDistributionPoints, undefined);
});

test('only a CA issues, and only by the profiles of its settings', () => {
  const leaf = { key: keyPair(), chain: [signed(planned(server, issuer, site), intermediate.key)] };
  refused('profile-not-allowed', /not that of a CA/, () =>
    planned(server, issuerFacts(leaf), site),
  );
  const settings = caSettings.parse({ profiles: ['tls-client'] });
  refused('profile-not-allowed', /does not issue by the profile tls-server/, () =>
    planned(server, { ...issuer, settings }, site),
  );
  planned(builtIn('tls-client'), { ...issuer, settings }, wanted('CN=service'));
  const { extensions, ...certificate } = intermediate.chain[0]!;
  const noSigning = {
    ...certificate,
    extensions: { ...extensions, keyUsage: ['cRLSign'] as const },
  };
  refused('profile-not-allowed', /not for signing certificates/, () =>
    planned(server, { ...issuer, certificate: noSigning }, site),
  );
});

test('a CA above that is limited to some usages limits what is below it', () => {
  const [certificate, ...above] = intermediate.chain;
  const extendedKeyUsage = { usages: ['1.3.6.1.5.5.7.3.2'], critical: false };
  const limited = {
    ...certificate!,
    extensions: { ...certificate!.extensions, extendedKeyUsage },
  };
  const below = { ...issuer, chain: [limited, ...above] };
  refused('profile-not-allowed', /extended key usage 1\.3\.6\.1\.5\.5\.7\.3\.1/, () =>
    planned(server, below, site),
  );
  planned(builtIn('tls-client'), below, wanted('CN=service'));
  planned(builtIn('ocsp-signing'), below, wanted('CN=responder'));
});

test('a responder is not sent to itself, and its certificate says that nobody asks for it', () => {
  const addresses = { ...issuer.addresses, ocsp: 'http://pki.example/ocsp' };
  const withOcsp = planned(server, { ...issuer, addresses }, site);
  assert.deepEqual(withOcsp.extensions.authorityInfoAccess?.ocsp, ['http://pki.example/ocsp']);
  const responder = planned(
    builtIn('ocsp-signing'),
    { ...issuer, addresses },
    wanted('CN=responder'),
  );
  assert.equal(responder.extensions.ocspNoCheck, true);
  assert.deepEqual(responder.extensions.authorityInfoAccess?.ocsp, []);
});

test('key usages are those that the kind of key can have', () => {
  const profile = customProfile({
    keyUsage: ['digitalSignature', 'keyEncipherment', 'keyAgreement', 'encipherOnly'],
  });
  const usagesOf = (spki: Buffer, by = profile) =>
    planned(by, issuer, wanted('CN=x', [], { spki })).extensions.keyUsage;
  const rsa = exported(generateKeyPairSync('rsa', { modulusLength: 2048 })).spki;
  const edwards = exported(generateKeyPairSync('ed25519')).spki;
  assert.deepEqual(usagesOf(rsa), ['digitalSignature', 'keyEncipherment']);
  assert.deepEqual(usagesOf(keyPair().spki), ['digitalSignature', 'keyAgreement', 'encipherOnly']);
  assert.deepEqual(usagesOf(edwards), ['digitalSignature']);
  const aimless = customProfile({ keyUsage: ['digitalSignature', 'decipherOnly'] });
  assert.deepEqual(usagesOf(keyPair().spki, aimless), ['digitalSignature']);
  refused('public-key-refused', /usage/, () =>
    usagesOf(edwards, customProfile({ keyUsage: ['keyEncipherment'] })),
  );
});

test('the extensions of the profile are in the certificate: usages, policies', () => {
  const profile = customProfile({
    // What a profile says twice is in the certificate once.
    extendedKeyUsage: ['timeStamping', '1.2.3.4', '1.3.6.1.5.5.7.3.8'],
    extendedKeyUsageCritical: true,
    policies: ['1.3.6.1.4.1.99999.1', '1.3.6.1.4.1.99999.1'],
  });
  const { extensions } = planned(profile, issuer, wanted('CN=x'));
  assert.deepEqual(extensions.extendedKeyUsage, {
    usages: ['1.3.6.1.5.5.7.3.8', '1.2.3.4'],
    critical: true,
  });
  assert.deepEqual(extensions.certificatePolicies, ['1.3.6.1.4.1.99999.1']);
});

test('nobody gets the name of a CA above, however it is written', () => {
  const names = ['CN=Example Root,O=Example,C=DE', 'CN=example  INTERMEDIATE,O=Example,C=DE'];
  for (const profile of ['intermediate', 'tls-client']) {
    for (const subject of names) {
      refused('subject-not-allowed', /name of the CA/, () =>
        planned(builtIn(profile), issuer, wanted(subject)),
      );
    }
  }
  planned(builtIn('tls-client'), issuer, wanted('CN=Example Root,O=Other,C=DE'));
});
