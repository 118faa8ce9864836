import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { type AlgorithmName, algorithms } from '../../api/algorithms.ts';
import { newId } from '../base/ids.ts';
import { generateKeyMaterial } from '../crypto/crypto.ts';
import { checkUses } from './conformance-uses.ts';
import type { KeyIdentity, KeyLocation, Keystore, StoredKey } from './keystore.ts';

export interface ConformanceSubject {
  readonly name: string;
  /**
   * A fresh keystore, and the same one as another process would open it; undefined where the test
   * has been skipped, since something that it needs is not here.
   */
  open(
    t: TestContext,
  ): Promise<{ keystore: Keystore; reopen: () => Promise<Keystore> } | undefined>;
  /** Algorithms that this kind does not hold; each has to be refused with a typed error. */
  readonly unsupported: readonly AlgorithmName[];
  /** What this kind cannot import although it can import; refused with a typed error. */
  readonly notImported?: readonly AlgorithmName[];
  /** One algorithm of two that it makes quickly; `ed25519` where left out. */
  readonly quickAlgorithm?: AlgorithmName;
}

const slow = /^(rsa-4096|slh-dsa-.*)$/;

const importedAlgorithms = ['p-384', 'rsa-2048', 'ed25519', 'hmac-sha256'] as const;

/** What every kind of keystore has to do: one suite, run against each of them. */
export function testKeystore(subject: ConformanceSubject): void {
  const names = (Object.keys(algorithms) as AlgorithmName[]).filter((name) => !slow.test(name));
  for (const algorithm of names.filter((name) => !subject.unsupported.includes(name))) {
    test(`${subject.name} makes ${algorithm} and opens it again after a restart`, async (t) => {
      const opened = await subject.open(t);
      if (opened === undefined) return;
      const { keystore, reopen } = opened;
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
      await checkUses(algorithm, there);
      await checkUses(algorithm, here);
    });
  }
  for (const algorithm of subject.unsupported) {
    test(`${subject.name} refuses ${algorithm} with a typed error`, async (t) => {
      const fresh = await subject.open(t);
      if (fresh === undefined) return;
      const { keystore } = fresh;
      await assert.rejects(keystore.generate(freshIdentity(), algorithm), {
        code: 'capability-missing',
      });
    });
  }
  testLife(subject);
}

function testLife(subject: ConformanceSubject): void {
  const quick = subject.quickAlgorithm ?? 'ed25519';
  test(`${subject.name} keeps versions of one key apart`, async (t) => {
    const fresh = await subject.open(t);
    if (fresh === undefined) return;
    const { keystore } = fresh;
    const first = freshIdentity();
    const second = { ...first, version: 2 };
    const one = await keystore.generate(first, quick);
    const two = await keystore.generate(second, quick);
    assert.notEqual(one.fingerprint, two.fingerprint);
    assert.equal((await keystore.open(locationOf(first, quick, one))).fingerprint, one.fingerprint);
    assert.equal(
      (await keystore.open(locationOf(second, quick, two))).fingerprint,
      two.fingerprint,
    );
  });

  for (const algorithm of importedAlgorithms) {
    test(`${subject.name} imports ${algorithm}, if it says so, and refuses what it cannot`, async (t) => {
      const fresh = await subject.open(t);
      if (fresh === undefined) return;
      const { keystore } = fresh;
      const identity = freshIdentity();
      const material = await generateKeyMaterial(algorithm);
      const refused = [...subject.unsupported, ...(subject.notImported ?? [])];
      if (!keystore.capabilities.import || refused.includes(algorithm)) {
        await assert.rejects(keystore.import(identity, material), { code: 'capability-missing' });
        assert.equal(await keystore.exists(identity), false);
        return;
      }
      const stored = await keystore.import(identity, material);
      assert.equal(stored.fingerprint, material.fingerprint);
      const opened = await keystore.open(locationOf(identity, algorithm, stored));
      assert.equal(opened.fingerprint, material.fingerprint);
      await checkUses(algorithm, opened);
    });
  }

  test(`${subject.name} destroys, and does nothing the second time`, async (t) => {
    const fresh = await subject.open(t);
    if (fresh === undefined) return;
    const { keystore } = fresh;
    const identity = freshIdentity();
    const stored = await keystore.generate(identity, 'p-256');
    const location = locationOf(identity, 'p-256', stored);
    assert.equal(await keystore.exists(identity), keystore.capabilities.external);
    assert.equal(keystore.isAt(identity, stored.uri), true);
    await keystore.destroy(location);
    await keystore.destroy(location);
    assert.equal(await keystore.exists(identity), false);
    const after = { ...location, privateBlob: null };
    await assert.rejects(keystore.open(after), (error: { code?: string }) =>
      ['key-destroyed', 'keystore-unavailable'].includes(error.code ?? ''),
    );
  });

  test(`${subject.name} discards what was never finished`, async (t) => {
    const fresh = await subject.open(t);
    if (fresh === undefined) return;
    const { keystore } = fresh;
    const identity = freshIdentity();
    await keystore.generate(identity, 'p-256');
    await keystore.discard(identity);
    assert.equal(await keystore.exists(identity), false);
    await keystore.discard(identity);
  });

  test(`${subject.name} keeps two makings of one version apart`, async (t) => {
    const fresh = await subject.open(t);
    if (fresh === undefined) return;
    const { keystore } = fresh;
    const identity = freshIdentity();
    const [mine, theirs] = ['1a2b', '3c4d'].map((attempt) => ({ ...identity, attempt }));
    const stored = await keystore.generate(mine!, 'p-256');
    const other = await keystore.generate(theirs!, 'p-256');
    const { external } = keystore.capabilities;
    assert.deepEqual(
      [stored.uri, other.uri].map((uri) => keystore.isAt(theirs!, uri)),
      [!external, true],
    );
    await keystore.discard(mine!);
    assert.equal(await keystore.exists(mine!), false);
    assert.equal(await keystore.exists(theirs!), external);
    const opened = await keystore.open(locationOf(theirs!, 'p-256', other));
    assert.equal(opened.fingerprint, other.fingerprint);
  });

  test(`${subject.name} says that it is well`, async (t) => {
    const fresh = await subject.open(t);
    if (fresh === undefined) return;
    const { keystore } = fresh;
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
