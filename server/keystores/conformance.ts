import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { type AlgorithmName, algorithms, defaultSchemes } from '../../api/algorithms.ts';
import { newId } from '../base/ids.ts';
import { generateKeyMaterial, sign, verify } from '../crypto/crypto.ts';
import type { KeyIdentity, KeyLocation, Keystore, StoredKey } from './keystore.ts';

export interface ConformanceSubject {
  readonly name: string;
  /** A fresh keystore, and the same one as another process would open it. */
  open(): Promise<{ keystore: Keystore; reopen: () => Promise<Keystore> }>;
  /** Algorithms that this kind does not hold; each has to be refused with a typed error. */
  readonly unsupported: readonly AlgorithmName[];
}

const slow = /^(rsa-4096|slh-dsa-.*)$/;

/** What every kind of keystore has to do: one suite, run against each of them. */
export function testKeystore(subject: ConformanceSubject): void {
  const names = (Object.keys(algorithms) as AlgorithmName[]).filter((name) => !slow.test(name));
  for (const algorithm of names.filter((name) => !subject.unsupported.includes(name))) {
    test(`${subject.name} makes ${algorithm} and opens it again after a restart`, async () => {
      const { keystore, reopen } = await subject.open();
      const identity = freshIdentity();
      const stored = await keystore.generate(identity, algorithm);
      const location = locationOf(identity, algorithm, stored);
      const here = await keystore.open(location);
      const there = await (await reopen()).open(location);
      assert.equal(here.fingerprint, stored.fingerprint);
      assert.equal(there.fingerprint, stored.fingerprint);
      if (stored.publicKey !== null) {
        const digest = createHash('sha256').update(stored.publicKey).digest('hex');
        assert.equal(stored.fingerprint, digest, 'the fingerprint is SHA-256 of the SPKI');
      }
    });
  }
  for (const algorithm of subject.unsupported) {
    test(`${subject.name} refuses ${algorithm} with a typed error`, async () => {
      const { keystore } = await subject.open();
      await assert.rejects(keystore.generate(freshIdentity(), algorithm), {
        code: 'capability-missing',
      });
    });
  }
  testLife(subject);
}

function testLife(subject: ConformanceSubject): void {
  test(`${subject.name} signs with what it holds`, async () => {
    const { keystore } = await subject.open();
    const identity = freshIdentity();
    const stored = await keystore.generate(identity, 'p-256');
    const material = await keystore.open(locationOf(identity, 'p-256', stored));
    const scheme = defaultSchemes('p-256', 'sign')[0]!;
    const message = Buffer.from('message');
    const signature = await sign(scheme, material.privateKey, message);
    assert.equal(await verify(scheme, material.publicKey!, message, signature), true);
  });

  test(`${subject.name} keeps versions of one key apart`, async () => {
    const { keystore } = await subject.open();
    const first = freshIdentity();
    const second = { ...first, version: 2 };
    const one = await keystore.generate(first, 'ed25519');
    const two = await keystore.generate(second, 'ed25519');
    assert.notEqual(one.fingerprint, two.fingerprint);
    assert.equal(
      (await keystore.open(locationOf(first, 'ed25519', one))).fingerprint,
      one.fingerprint,
    );
    assert.equal(
      (await keystore.open(locationOf(second, 'ed25519', two))).fingerprint,
      two.fingerprint,
    );
  });

  test(`${subject.name} imports, if it says so`, async () => {
    const { keystore } = await subject.open();
    if (!keystore.capabilities.import) return;
    const identity = freshIdentity();
    const material = await generateKeyMaterial('p-384');
    const stored = await keystore.import(identity, material);
    assert.equal(stored.fingerprint, material.fingerprint);
    const opened = await keystore.open(locationOf(identity, 'p-384', stored));
    assert.equal(opened.fingerprint, material.fingerprint);
  });

  test(`${subject.name} destroys, and does nothing the second time`, async () => {
    const { keystore } = await subject.open();
    const identity = freshIdentity();
    const stored = await keystore.generate(identity, 'p-256');
    const location = locationOf(identity, 'p-256', stored);
    assert.equal(await keystore.exists(identity), keystore.capabilities.external);
    await keystore.destroy(location);
    await keystore.destroy(location);
    assert.equal(await keystore.exists(identity), false);
    const after = { ...location, privateBlob: null };
    await assert.rejects(keystore.open(after), (error: { code?: string }) =>
      ['key-destroyed', 'keystore-unavailable'].includes(error.code ?? ''),
    );
  });

  test(`${subject.name} discards what was never finished`, async () => {
    const { keystore } = await subject.open();
    const identity = freshIdentity();
    await keystore.generate(identity, 'p-256');
    await keystore.discard(identity);
    assert.equal(await keystore.exists(identity), false);
    await keystore.discard(identity);
  });

  test(`${subject.name} says that it is well`, async () => {
    const { keystore } = await subject.open();
    assert.deepEqual(await keystore.health(), { ready: true, reason: undefined });
  });
}

function freshIdentity(): KeyIdentity {
  return { keyId: newId('key'), version: 1, name: 'conformance/key' };
}

function locationOf(
  identity: KeyIdentity,
  algorithm: AlgorithmName,
  stored: StoredKey,
): KeyLocation {
  return {
    keyId: identity.keyId,
    version: identity.version,
    algorithm,
    uri: stored.uri,
    privateBlob: stored.privateBlob,
    storeKeyId: stored.storeKeyId,
  };
}
