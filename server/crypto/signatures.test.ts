import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type AlgorithmName, type SchemeName, schemes, schemesFor } from '../../api/algorithms.ts';
import { requireProgram, run, tryRun } from '../../test/tools.ts';
import { isKeyreeveError } from '../base/errors.ts';
import {
  generateKeyMaterial,
  type LocalKeyMaterial,
  mapBatch,
  sign,
  signMany,
  verify,
} from './crypto.ts';
import { batchJobsMaximum } from './limiter.ts';

const data = Buffer.from('The file that was signed.\n');
const signers: readonly AlgorithmName[] = [
  ...(['rsa-2048', 'p-256', 'p-384', 'p-521', 'secp256k1', 'ed25519'] as const),
];
let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'keyreeve-signatures-'));
});
after(() => rmSync(folder, { recursive: true }));

for (const algorithm of signers) {
  test(`openssl verifies what ${algorithm} signs, and the reverse`, async (t) => {
    const openssl = requireProgram(t, 'openssl');
    if (openssl === undefined) return;
    const material = await generateKeyMaterial(algorithm);
    const files = writeFiles(material);
    for (const scheme of schemesFor(algorithm, 'sign')) {
      writeFileSync(files.signature, await sign(scheme, material.privateKey, data));
      run(openssl, [...verifyCommand(scheme, files)]);
      const theirs = run(openssl, [...signCommand(scheme, files)]);
      assert.equal(await verify(scheme, material.publicKey!, data, theirs), true, scheme);
      assert.equal(await verify(scheme, material.publicKey!, Buffer.from('x'), theirs), false);
      // The check can fail: openssl refuses the signature for other data.
      writeFileSync(files.data, 'other');
      assert.notEqual(tryRun(openssl, [...verifyCommand(scheme, files)]).status, 0);
      writeFileSync(files.data, data);
    }
  });
}

test('a scheme takes only keys of its own algorithms', async () => {
  const [rsa, p256, ed25519] = await Promise.all([
    generateKeyMaterial('rsa-2048'),
    generateKeyMaterial('p-256'),
    generateKeyMaterial('ed25519'),
  ]);
  const wrong: [SchemeName, LocalKeyMaterial][] = [
    ['rsa-pss-sha256', p256],
    ['ecdsa-sha384', p256],
    ['ecdsa-sha256', rsa],
    ['ed25519', rsa],
    ['ml-dsa-65', ed25519],
    ['rsa-oaep-sha256', rsa],
    ['hmac-sha256', ed25519],
  ];
  for (const [scheme, material] of wrong) {
    await refused(sign(scheme, material.privateKey, data), 'scheme-not-allowed');
    await refused(verify(scheme, material.publicKey!, data, data), 'scheme-not-allowed');
  }
  await refused(sign('ecdsa-sha256', p256.publicKey!, data), 'scheme-not-allowed');
  await refused(verify('ecdsa-sha256', p256.privateKey, data, data), 'scheme-not-allowed');
  await refused(sign('toString' as SchemeName, rsa.privateKey, data), 'unknown-scheme');
});

test('keys of sizes and kinds that are not offered sign nothing', async () => {
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
  await refused(sign('rsa-pss-sha256', small, data), 'scheme-not-allowed');
  const restricted = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey;
  await refused(sign('rsa-pss-sha256', restricted, data), 'scheme-not-allowed');
  const other = generateKeyPairSync('ed448').privateKey;
  await refused(sign('ed25519', other, data), 'scheme-not-allowed');
});

test('a batch has few items under way at a time', async () => {
  let under = 0;
  let most = 0;
  await mapBatch(Array.from({ length: 100 }), async () => {
    most = Math.max(most, ++under);
    await new Promise((resolve) => setImmediate(resolve));
    under--;
  });
  assert.equal(most, batchJobsMaximum);
});

test('a list is signed in its order', async () => {
  const { privateKey, publicKey } = await generateKeyMaterial('p-256');
  const datas = Array.from({ length: 60 }, (_, index) => Buffer.from(`item ${index}`));
  const signatures = await signMany('ecdsa-sha256', privateKey, datas);
  const verdicts = await mapBatch([...datas.keys()], (index) =>
    verify('ecdsa-sha256', publicKey!, datas[index]!, signatures[index]!),
  );
  assert.deepEqual(
    verdicts,
    datas.map(() => true),
  );
  assert.deepEqual(await signMany('ecdsa-sha256', privateKey, []), []);
});

test('slow signatures leave the thread pool to the others', async () => {
  const [slow, fast] = await Promise.all([
    generateKeyMaterial('slh-dsa-sha2-128s'),
    generateKeyMaterial('p-256'),
  ]);
  const ended: string[] = [];
  const slowOnes = Array.from({ length: 4 }, async () => {
    await sign('slh-dsa-sha2-128s', slow.privateKey, data);
    ended.push('slow');
  });
  await sign('ecdsa-sha256', fast.privateKey, data);
  ended.push('fast');
  await Promise.all(slowOnes);
  assert.equal(ended[0], 'fast');
});

test('empty data are signed like any other', async () => {
  const { privateKey, publicKey } = await generateKeyMaterial('ed25519');
  const signature = await sign('ed25519', privateKey, Buffer.alloc(0));
  assert.equal(await verify('ed25519', publicKey!, Buffer.alloc(0), signature), true);
  assert.equal(await verify('ed25519', publicKey!, Buffer.of(0), signature), false);
});

async function refused(promise: Promise<unknown>, code: 'scheme-not-allowed' | 'unknown-scheme') {
  await assert.rejects(promise, (error) => isKeyreeveError(error, code));
}

interface Files {
  readonly privateKey: string;
  readonly publicKey: string;
  readonly data: string;
  readonly signature: string;
}

function writeFiles(material: LocalKeyMaterial): Files {
  const path = (name: string) => join(folder, `${material.algorithm}-${name}`);
  const files: Files = {
    privateKey: path('private.pem'),
    publicKey: path('public.pem'),
    data: path('data'),
    signature: path('signature'),
  };
  const pem = material.privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(files.privateKey, pem, { mode: 0o600 });
  writeFileSync(files.publicKey, material.publicKey!.export({ format: 'pem', type: 'spki' }));
  writeFileSync(files.data, data);
  return files;
}

function signCommand(scheme: SchemeName, files: Files): string[] {
  const row = schemes[scheme];
  if (!('hash' in row)) {
    return ['pkeyutl', '-sign', '-rawin', '-inkey', files.privateKey, '-in', files.data];
  }
  return ['dgst', `-${row.hash}`, '-sign', files.privateKey, ...padding(row.form), files.data];
}

function verifyCommand(scheme: SchemeName, files: Files): string[] {
  const row = schemes[scheme];
  const signature = files.signature;
  if (!('hash' in row)) {
    const key = ['-pubin', '-inkey', files.publicKey];
    return ['pkeyutl', '-verify', '-rawin', ...key, '-in', files.data, '-sigfile', signature];
  }
  const start = ['dgst', `-${row.hash}`, '-verify', files.publicKey, ...padding(row.form)];
  return [...start, '-signature', signature, files.data];
}

function padding(form: string): string[] {
  if (form !== 'rsa-pss') return [];
  return ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest'];
}
