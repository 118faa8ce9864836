import assert from 'node:assert/strict';
import { test } from 'node:test';
import { installDebianPackages, missingPackages } from './debian-packages.ts';

test('only what is not installed is missing', () => {
  assert.deepEqual(missingPackages(['openssl', 'age'], new Set(['openssl', 'bash'])), ['age']);
});

test('nothing is installed or said where KEYREEVE_TEST_NO_APT is set', () => {
  const said: string[] = [];
  installDebianPackages((line) => said.push(line), { KEYREEVE_TEST_NO_APT: '1' });
  assert.deepEqual(said, []);
});
