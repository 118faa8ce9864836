import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  constants,
  verify as cryptoVerify,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AlgorithmName,
  algorithms,
  type NodeKey,
  type SchemeName,
  type SchemeRow,
  schemes,
  supportsScheme,
} from '../../api/algorithms.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  agree,
  decrypt,
  isRemoteKey,
  type KeyMaterial,
  mac,
  sign,
  signMany,
  unwrapKey,
  wrapKey,
} from '../crypto/crypto.ts';

type Hashed = { readonly hash: string; readonly hashBytes: number };

const message = Buffer.from('what the key is used on');

/**
 * Uses a key in every way that its algorithm has, through the front door of crypto and, where it is
 * a remote one, by itself; what comes out is checked with the public half alone, by node:crypto and
 * by openssl. What the token cannot do has to be refused.
 */
export async function checkUses(algorithm: AlgorithmName, material: KeyMaterial): Promise<void> {
  const names = (Object.keys(schemes) as SchemeName[]).filter((name) =>
    supportsScheme(algorithm, name),
  );
  for (const name of names) {
    const row: SchemeRow = schemes[name];
    const key = material.privateKey;
    if (isRemoteKey(key) && !key.schemes.has(name)) {
      if (row.act === 'sign') {
        await assert.rejects(key.sign(name, message), { code: 'capability-missing' });
        await assert.rejects(sign(name, key, message), { code: 'capability-missing' });
      }
      continue;
    }
    await checkScheme(name, row, material);
  }
}

async function checkScheme(name: SchemeName, row: SchemeRow, material: KeyMaterial): Promise<void> {
  const { privateKey: key, publicKey } = material;
  switch (row.act) {
    case 'sign':
      return checkSigning(name, material);
    case 'mac': {
      if (!isRemoteKey(key)) return;
      const one = await mac(name, key, message);
      assert.equal(one.length, row.hashBytes);
      assert.deepEqual(await key.mac?.(name, message), one);
      return;
    }
    case 'encrypt':
      if (row.form === 'rsa-oaep') await checkDecryption(name, row, material);
      return;
    case 'wrap': {
      if (row.form !== 'rsa-aes-kwp') return;
      const secret = new SecretBytes(randomBytes(45));
      const wrapped = wrapKey(name, publicKey!, secret);
      assert.equal((await unwrapKey(name, key, wrapped)).equals(secret), true);
      await refusesChanged(wrapped, (changed) => unwrapKey(name, key, changed));
      return;
    }
    case 'agree':
      return checkAgreement(material);
    case 'encapsulate':
      return;
  }
}

async function checkSigning(name: SchemeName, material: KeyMaterial): Promise<void> {
  const { privateKey: key, publicKey } = material;
  const signatures = [
    await sign(name, key, message),
    ...(await signMany(name, key, [message, message, message])),
  ];
  if (isRemoteKey(key)) signatures.push(await key.sign(name, message));
  for (const signature of signatures) {
    assert.equal(verifies(name, publicKey!, message, signature), true, name);
    assert.equal(verifies(name, publicKey!, Buffer.from('another'), signature), false, name);
  }
  const long = randomBytes(200_000);
  assert.equal(verifies(name, publicKey!, long, await sign(name, key, long)), true, name);
  const empty = Buffer.alloc(0);
  assert.equal(verifies(name, publicKey!, empty, await sign(name, key, empty)), true, name);
  if (isRemoteKey(key)) opensslAgrees(name, publicKey!, signatures[0]!);
}

/** As a stranger verifies, who has the public key and the standards alone. */
function verifies(
  name: SchemeName,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const row: SchemeRow = schemes[name];
  if (row.act !== 'sign') throw new Error(`${name} is no signature`);
  const hash = 'hash' in row ? row.hash : null;
  if (row.form !== 'rsa-pss') return cryptoVerify(hash, data, key, signature);
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return cryptoVerify(hash, data, { key, padding, saltLength: row.hashBytes }, signature);
}

function opensslAgrees(name: SchemeName, key: KeyObject, signature: Uint8Array): void {
  const row: SchemeRow = schemes[name];
  if (row.act !== 'sign' || row.form === 'pure') return;
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-openssl-'));
  try {
    const keyFile = join(folder, 'key.pem');
    const signatureFile = join(folder, 'signature');
    writeFileSync(keyFile, key.export({ format: 'pem', type: 'spki' }));
    writeFileSync(signatureFile, signature);
    const pss = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', `rsa_pss_saltlen:${row.hashBytes}`];
    const parameters = ['dgst', `-${row.hash}`, '-verify', keyFile, '-signature', signatureFile];
    const ran = spawnSync('openssl', [...parameters, ...(row.form === 'rsa-pss' ? pss : [])], {
      input: message,
    });
    // node:crypto has verified it already; without the program there is no second opinion.
    if (ran.error !== undefined) return;
    assert.match(ran.stdout.toString(), /Verified OK/, `openssl refuses ${name}: ${ran.stderr}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function checkDecryption(
  name: SchemeName,
  row: Hashed,
  { privateKey, publicKey, algorithm }: KeyMaterial,
): Promise<void> {
  const node: NodeKey = algorithms[algorithm].node;
  const modulusBytes = node.type === 'rsa' ? node.modulusBits / 8 : 0;
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const longest = modulusBytes - 2 * row.hashBytes - 2;
  for (const length of [0, 1, 32, longest]) {
    const plaintext = randomBytes(length);
    const ciphertext = publicEncrypt({ key: publicKey!, padding, oaepHash: row.hash }, plaintext);
    assert.deepEqual(await decrypt(name, privateKey, ciphertext), plaintext);
  }
  const one = publicEncrypt({ key: publicKey!, padding, oaepHash: row.hash }, message.subarray(3));
  await refusesChanged(one, (changed) => decrypt(name, privateKey, changed));
  // Raw RSA of a block that was never padded, and of one that is no smaller than the modulus.
  const unpadded = { key: publicKey!, padding: constants.RSA_NO_PADDING };
  const foreign = Buffer.alloc(modulusBytes, 3);
  foreign[0] = 0;
  for (const block of [publicEncrypt(unpadded, foreign), Buffer.alloc(modulusBytes, 0xff)]) {
    await assert.rejects(decrypt(name, privateKey, block), { code: 'invalid-ciphertext' });
  }
}

/** Every way of being wrong gives the same error. */
async function refusesChanged(
  good: Buffer,
  open: (changed: Buffer) => Promise<unknown>,
): Promise<void> {
  const changed = Buffer.from(good);
  changed[good.length >> 1]! ^= 1;
  const messages = new Set<string>();
  for (const bad of [changed, good.subarray(1), Buffer.concat([good, good]), Buffer.alloc(0)]) {
    await assert.rejects(open(bad), (error: Error & { code?: string }) => {
      messages.add(error.message);
      return error.code === 'invalid-ciphertext';
    });
  }
  assert.equal(messages.size, 1);
}

async function checkAgreement({ privateKey, publicKey, algorithm }: KeyMaterial): Promise<void> {
  const node: NodeKey = algorithms[algorithm].node;
  const pair = (): { privateKey: KeyObject; publicKey: KeyObject } =>
    node.type === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: node.curve })
      : (generateKeyPairSync('x25519') as { privateKey: KeyObject; publicKey: KeyObject });
  const parameters = { info: Buffer.from('conformance'), length: 40 };
  // Several: one in 256 secrets begins with a zero, which must not be lost.
  for (let round = 0; round < 3; round++) {
    const peer = pair();
    const spki = (key: KeyObject) => key.export({ format: 'der', type: 'spki' });
    const ours = await agree(privateKey, spki(peer.publicKey), parameters);
    const theirs = await agree(peer.privateKey, spki(publicKey!), parameters);
    assert.equal(ours.equals(theirs), true);
    if (!isRemoteKey(privateKey)) continue;
    const raw = await privateKey.agree?.(spki(peer.publicKey));
    const expected = diffieHellman({ privateKey: peer.privateKey, publicKey: publicKey! });
    assert.deepEqual(raw?.reveal(), expected);
  }
}
