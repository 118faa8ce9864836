import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Extensions } from '../../x509/x509.ts';
import {
  builtIn,
  constraints,
  issuerFacts,
  planned,
  refused,
  rootAuthority,
  wanted,
} from './rules.fixture.ts';

const issuer = issuerFacts(rootAuthority());
const server = builtIn('tls-server');

function plan(extensions: Extensions, profile = server) {
  const names = profile.names.required ? ['dns:www.example.org'] : [];
  return planned(profile, issuer, wanted('CN=www.example.org', names, { extensions }));
}

test('a request that asks to be a CA is refused by a profile that makes none', () => {
  refused('profile-not-allowed', /CA:TRUE/, () =>
    plan({ basicConstraints: { isAuthority: true } }),
  );
  plan({ basicConstraints: { isAuthority: false } });
});

test('a request that asks not to be a CA is not made one', () => {
  refused('profile-not-allowed', /CA:FALSE/, () =>
    plan({ basicConstraints: { isAuthority: false } }, builtIn('intermediate')),
  );
});

test('path length and name constraints are for CAs', () => {
  refused('profile-not-allowed', /for CAs/, () =>
    plan({ nameConstraints: constraints(['dns:a']) }),
  );
  const asked = wanted('CN=www.example.org', ['dns:www.example.org'], { pathLength: 0 });
  refused('profile-not-allowed', /for CAs/, () => planned(server, issuer, asked));
});

test('a request for signing certificates or CRLs is refused by name', () => {
  refused('profile-not-allowed', /key usage keyCertSign/, () =>
    plan({ keyUsage: ['keyCertSign'] }),
  );
  refused('profile-not-allowed', /key usage cRLSign/, () =>
    plan({ keyUsage: ['digitalSignature', 'cRLSign'] }),
  );
});

test('the key usages that tools put into every request are passed over', () => {
  const fields = plan({ keyUsage: ['contentCommitment', 'digitalSignature', 'keyEncipherment'] });
  assert.deepEqual(fields.extensions.keyUsage, ['digitalSignature']);
});

test('an extended key usage that the profile does not give is refused by name', () => {
  const usages = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
  refused('profile-not-allowed', /extended key usage clientAuth/, () =>
    plan({ extendedKeyUsage: { usages, critical: false } }),
  );
  refused('profile-not-allowed', /extended key usage 1\.2\.3\.4/, () =>
    plan({ extendedKeyUsage: { usages: ['1.2.3.4'], critical: false } }),
  );
  plan({ extendedKeyUsage: { usages: usages.slice(0, 1), critical: true } });
  plan({ extendedKeyUsage: { usages, critical: false } }, builtIn('tls-peer'));
});

test('a policy that the profile does not give is refused', () => {
  refused('profile-not-allowed', /policy 1\.2\.3/, () => plan({ certificatePolicies: ['1.2.3'] }));
});

test('a request for ocspNoCheck is for responders', () => {
  refused('profile-not-allowed', /ocspNoCheck/, () => plan({ ocspNoCheck: true }));
  plan({ ocspNoCheck: true }, builtIn('ocsp-signing'));
});

test('a critical extension that is not understood is refused, another one is left aside', () => {
  const asked = (critical: boolean) =>
    wanted('CN=www.example.org', ['dns:www.example.org'], {
      rawExtensions: [{ oid: '1.2.3.4.5', critical, value: Buffer.from('0500', 'hex') }],
    });
  refused('profile-not-allowed', /critical extension 1\.2\.3\.4\.5/, () =>
    planned(server, issuer, asked(true)),
  );
  planned(server, issuer, asked(false));
});

test('what a request says of its issuer is left aside', () => {
  const fields = plan({
    subjectKeyId: Buffer.alloc(20),
    authorityKeyId: Buffer.alloc(20),
    crlDistributionPoints: ['http://elsewhere.example/crl'],
  });
  assert.deepEqual(fields.extensions.crlDistributionPoints, ['http://pki.example/crl/1.crl']);
  assert.notDeepEqual(fields.extensions.subjectKeyId, Buffer.alloc(20));
});
