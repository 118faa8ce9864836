import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { algorithmNames } from '../../../api/algorithms.ts';
import { startTpm, type TestTpm } from '../../../test/tpm.ts';
import { generateKeyMaterial } from '../../crypto/crypto.ts';
import { testKeystore } from '../conformance.ts';
import { freshIdentity, openKeystore, stopKeystores } from './keystore.fixture.ts';
import type { Pkcs11Keystore } from './pkcs11.ts';

const held = /^(rsa-2048|rsa-3072|p-256|p-384)$/;
const unsupported = algorithmNames.filter((name) => !held.test(name));

let shared: Promise<TestTpm | undefined> | undefined;
after(async () => {
  await stopKeystores();
  await (await shared)?.remove();
});

function tpm(t: TestContext): Promise<TestTpm | undefined> {
  shared ??= startTpm(t);
  return shared;
}

let suite: Pkcs11Keystore | undefined;
testKeystore({
  name: 'pkcs11: with a TPM',
  unsupported,
  quickAlgorithm: 'p-256',
  open: async (t) => {
    const found = await tpm(t);
    if (found === undefined) return undefined;
    suite ??= openKeystore(found.uri);
    await suite.health();
    return { keystore: suite, reopen: async () => openKeystore(found.uri) };
  },
});

test('a TPM takes no keys in, and says so before and when it is asked', async (t) => {
  const found = await tpm(t);
  if (found === undefined) return;
  const keystore = openKeystore(found.uri);
  await keystore.facts();
  assert.equal(keystore.capabilities.import, false);
  const material = await generateKeyMaterial('p-256');
  await assert.rejects(keystore.import(freshIdentity('imported/key'), material), {
    code: 'capability-missing',
  });
});
