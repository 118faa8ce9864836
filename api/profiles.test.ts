import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtInProfiles, profile } from './profiles.ts';

const [first] = builtInProfiles;

test('object identifiers of a profile are such that can be encoded', () => {
  const parses = (oid: string) => profile.safeParse({ ...first, extendedKeyUsage: [oid] }).success;
  for (const oid of ['0.0', '0.39', '1.3.6.1.5.5.7.3.1', '2.0', '2.999.1', '2.5.29.37.0']) {
    assert.ok(parses(oid), oid);
  }
  for (const oid of ['', '1', '0.40', '1.50.1', '3.1', '1.02', '1.2.03', '1.2.', '1..2', '1.2.a']) {
    assert.ok(!parses(oid), oid);
  }
});
