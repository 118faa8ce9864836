import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  type AlgorithmName,
  type AlgorithmRow,
  algorithms,
  type SchemeName,
  type SchemeRow,
  schemes,
} from '../../api/algorithms.ts';
import type { Purpose } from '../../api/purposes.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { generateKeyMaterial, type LocalKeyMaterial } from '../../server/crypto/crypto.ts';
import { eventually } from '../eventually.ts';
import { nobleHashBased, nobleKems, nobleLattices, rawPublic } from '../post-quantum.ts';
import { pythonValues } from '../python-values.ts';
import { badPublicKeys } from '../refusals/public-keys.ts';
import { type RefusalContext, refusalsFor } from '../refusals.ts';
import { startLoggedIn } from '../service.ts';
import { requirePythonCryptography } from '../tools.ts';

const { client } = await startLoggedIn({ after });

const data = Buffer.from('Data that were signed, sealed or wrapped.');
const other = Buffer.from('Other data.').toString('base64');
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const message = text(data);

type Act = 'sign' | 'encrypt' | 'mac' | 'wrap';

/** A key that the test holds too: it made it and the service took it in. */
interface Held {
  readonly name: string;
  readonly material: LocalKeyMaterial;
  readonly bytes: Buffer;
}

let made = 0;

async function importKey(algorithm: AlgorithmName, purpose: Purpose): Promise<Held> {
  const material = await generateKeyMaterial(algorithm);
  const { privateKey } = material;
  const bytes =
    privateKey.type === 'secret'
      ? privateKey.export()
      : privateKey.export({ format: 'der', type: 'pkcs8' });
  const row: AlgorithmRow = algorithms[algorithm];
  const name = `refusals/${algorithm}-${purpose}-${++made}`;
  await client.call('key.import', {
    body: {
      name,
      algorithm,
      purpose,
      schemes: [...row.purposes[purpose]!.allowed],
      material: text(bytes),
    },
  });
  return { name, material, bytes };
}

/** How a use is asked for, one value or many, and what it said: the value opened or accepted. */
const doors = {
  sign: {
    make: async (key: string, scheme: SchemeName) =>
      (await client.call('key.sign', { params: { key }, body: { scheme, data: message } }))
        .signature,
    one: async (key: string, scheme: SchemeName, signature: string) => {
      const body = { scheme, data: message, signature };
      const answer = await client.call('key.verify', { params: { key }, body });
      return verdict(answer);
    },
    many: async (key: string, scheme: SchemeName, values: string[]) => {
      const items = values.map((signature) => ({ data: message, signature }));
      const body = { scheme, items };
      const { results } = await client.call('key.verify.batch', { params: { key }, body });
      return results.map((result) => ('error' in result ? result.error.code : verdict(result)));
    },
  },
  mac: {
    make: async (key: string, scheme: SchemeName) =>
      (await client.call('key.mac', { params: { key }, body: { scheme, data: message } })).mac,
    one: async (key: string, scheme: SchemeName, mac: string) => {
      const body = { scheme, data: message, mac };
      return verdict(await client.call('key.verify-mac', { params: { key }, body }));
    },
    many: async (key: string, scheme: SchemeName, values: string[]) => {
      const body = { scheme, items: values.map((mac) => ({ data: message, mac })) };
      const { results } = await client.call('key.verify-mac.batch', { params: { key }, body });
      return results.map((result) => ('error' in result ? result.error.code : verdict(result)));
    },
  },
  encrypt: {
    make: async (key: string, scheme: SchemeName) =>
      (await client.call('key.encrypt', { params: { key }, body: { scheme, plaintext: message } }))
        .ciphertext,
    one: (key: string, scheme: SchemeName, ciphertext: string) =>
      opened(client.call('key.decrypt', { params: { key }, body: { scheme, ciphertext } })),
    many: async (key: string, scheme: SchemeName, values: string[]) => {
      const body = { scheme, items: values.map((ciphertext) => ({ ciphertext })) };
      const { results } = await client.call('key.decrypt.batch', { params: { key }, body });
      return results.map((result) => ('error' in result ? result.error.code : result.plaintext));
    },
  },
  wrap: {
    make: async (key: string, scheme: SchemeName) =>
      (await client.call('key.wrap', { params: { key }, body: { scheme, material: message } }))
        .wrapped,
    one: (key: string, scheme: SchemeName, wrapped: string) =>
      opened(client.call('key.unwrap', { params: { key }, body: { scheme, wrapped } })),
    many: async (key: string, scheme: SchemeName, values: string[]) => {
      const body = { scheme, items: values.map((wrapped) => ({ wrapped })) };
      const { results } = await client.call('key.unwrap.batch', { params: { key }, body });
      return results.map((result) => ('error' in result ? result.error.code : result.material));
    },
  },
} as const;

const accepted: Record<Act, string> = {
  sign: 'valid by 1',
  mac: 'valid by 1',
  encrypt: message,
  wrap: message,
};
const refused: Record<Act, string> = {
  sign: 'invalid',
  mac: 'invalid',
  encrypt: 'invalid-ciphertext',
  wrap: 'invalid-ciphertext',
};

function verdict(answer: { valid: boolean; version: number }): string {
  if (answer.valid) return `valid by ${answer.version}`;
  assert.equal(answer.version, 0);
  return 'invalid';
}

async function opened(
  call: Promise<{ plaintext: string } | { material: string }>,
): Promise<string> {
  try {
    const answer = await call;
    return 'plaintext' in answer ? answer.plaintext : answer.material;
  } catch (error) {
    assert.ok(isKeyreeveError(error), String(error));
    return error.code;
  }
}

/** The valid value is taken, and everything that its standard calls invalid is refused. */
async function holds(held: Held, scheme: SchemeName, valid: Buffer): Promise<void> {
  const row: SchemeRow = schemes[scheme];
  const act = row.act as Act;
  const door = doors[act];
  const { privateKey, publicKey } = held.material;
  const context: RefusalContext = { scheme, data, privateKey, publicKey };
  const refusals = refusalsFor(scheme);
  const values = refusals.map((refusal) => {
    const changed = refusal.mutate(Buffer.from(valid), context);
    assert.equal(changed.equals(valid), false, `${refusal.name} changes something`);
    return text(changed);
  });
  const [first, ...rest] = await door.many(held.name, scheme, [text(valid), ...values]);
  assert.equal(first, accepted[act], `${scheme}: the valid one`);
  assert.equal(await door.one(held.name, scheme, text(valid)), accepted[act]);
  // The large ones travel once: the rule is the same, and the batch has shown it.
  const single = valid.length > 5000 ? values.slice(0, 3) : values;
  const alone = await Promise.all(single.map((value) => door.one(held.name, scheme, value)));
  for (const [index, { name }] of refusals.entries()) {
    assert.equal(rest[index], refused[act], `${scheme}: ${name}`);
    if (index < alone.length) assert.equal(alone[index], refused[act], `${scheme} alone: ${name}`);
  }
}

/** Every algorithm with the purposes that Python's `cryptography` knows too. */
const classical = (Object.keys(algorithms) as AlgorithmName[]).flatMap((algorithm) => {
  if (/^(ml|slh)-/.test(algorithm)) return [];
  const row: AlgorithmRow = algorithms[algorithm];
  return (['sign', 'encrypt', 'mac', 'wrap'] as const)
    .filter((purpose) => row.purposes[purpose] !== undefined)
    .map((purpose) => [algorithm, purpose, row.purposes[purpose]!.allowed] as const);
});

for (const [algorithm, purpose, names] of classical) {
  test(`${algorithm} to ${purpose} takes what is valid and nothing else`, async (t) => {
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const held = await importKey(algorithm, purpose);
    const jobs = names.map((scheme) => ({ scheme, key: held.bytes, data }));
    const values = pythonValues(python, jobs);
    for (const [index, scheme] of names.entries()) {
      await holds(held, scheme, values[index]!);
      const own = await doors[purpose].make(held.name, scheme);
      assert.equal(await doors[purpose].one(held.name, scheme, own), accepted[purpose]);
    }
    if (purpose === 'sign') await refusesElsewhere(held, names, values);
  });
}

/** A signature holds for its own data, key and scheme alone. */
async function refusesElsewhere(
  held: Held,
  names: readonly SchemeName[],
  values: readonly Buffer[],
): Promise<void> {
  const params = { key: held.name };
  for (const [index, scheme] of names.entries()) {
    const signature = text(values[index]!);
    const body = { scheme, data: other, signature };
    assert.equal((await client.call('key.verify', { params, body })).valid, false);
    for (const wrong of names.filter((name) => name !== scheme)) {
      assert.equal(await doors.sign.one(held.name, wrong, signature), 'invalid', wrong);
    }
  }
}

for (const [algorithm, noble] of Object.entries(nobleLattices) as [
  keyof typeof nobleLattices,
  (typeof nobleLattices)['ml-dsa-65'],
][]) {
  test(`${algorithm} takes what is valid and nothing else`, async () => {
    const held = await importKey(algorithm, 'sign');
    const { privateKey, publicKey } = held.material;
    const { secretKey } = noble.keygen(privateKey.export({ format: 'raw-seed' }));
    await holds(held, algorithm, Buffer.from(noble.sign(data, secretKey)));
    const own = Buffer.from(await doors.sign.make(held.name, algorithm), 'base64');
    assert.equal(noble.verify(own, data, rawPublic(publicKey!)), true);
  });
}

for (const [algorithm, noble] of Object.entries(nobleHashBased) as [
  keyof typeof nobleHashBased,
  (typeof nobleHashBased)['slh-dsa-sha2-128f'],
][]) {
  test(`${algorithm} takes what is valid and nothing else`, async () => {
    const held = await importKey(algorithm, 'sign');
    const { privateKey, publicKey } = held.material;
    const own = Buffer.from(await doors.sign.make(held.name, algorithm), 'base64');
    assert.equal(noble.verify(own, data, rawPublic(publicKey!)), true);
    await holds(held, algorithm, own);
    if (!algorithm.endsWith('128f')) return;
    const theirs = noble.sign(data, privateKey.export({ format: 'raw-private' }));
    assert.equal(await doors.sign.one(held.name, algorithm, text(theirs)), 'valid by 1');
  });
}

for (const algorithm of ['p-256', 'p-384', 'p-521', 'x25519'] as const) {
  test(`${algorithm} agrees with good public keys and no others`, async (t) => {
    const held = await importKey(algorithm, 'agree');
    const params = { key: held.name };
    const peer = await generateKeyMaterial(algorithm);
    const refuse = async (name: string, spki: Uint8Array) => {
      const call = client.call('key.agree', { params, body: { peer: text(spki) } });
      await assert.rejects(call, (error) => {
        assert.ok(isKeyreeveError(error, 'invalid-key-material'), `${name}: ${error}`);
        return true;
      });
    };
    await Promise.all(
      badPublicKeys(algorithm, peer.spki!).map((bad) => refuse(bad.name, bad.spki)),
    );
    for (const foreign of ['p-256', 'p-384', 'x25519', 'secp256k1', 'rsa-2048'] as const) {
      if (foreign !== algorithm) await refuse(foreign, (await generateKeyMaterial(foreign)).spki!);
    }
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const key = peer.privateKey.export({ format: 'der', type: 'pkcs8' });
    const jobs = [{ scheme: 'ecdh' as const, key, data, peer: held.material.spki! }];
    const [theirs] = pythonValues(python, jobs);
    const body = { peer: text(peer.spki!), info: message };
    const { secret } = await client.call('key.agree', { params, body });
    assert.equal(secret, text(theirs!));
  });
}

for (const [algorithm, noble] of Object.entries(nobleKems) as [
  keyof typeof nobleKems,
  (typeof nobleKems)['ml-kem-768'],
][]) {
  test(`${algorithm} opens what is valid, and what is altered gives another secret`, async () => {
    const held = await importKey(algorithm, 'encapsulate');
    const params = { key: held.name };
    const { privateKey, publicKey } = held.material;
    const { secretKey } = noble.keygen(privateKey.export({ format: 'raw-seed' }));
    const open = async (ciphertext: Uint8Array) =>
      (await client.call('key.decapsulate', { params, body: { ciphertext: text(ciphertext) } }))
        .secret;
    const theirs = noble.encapsulate(rawPublic(publicKey!));
    assert.equal(await open(theirs.cipherText), text(theirs.sharedSecret));
    const ours = await client.call('key.encapsulate', { params, body: {} });
    const sealed = Buffer.from(ours.ciphertext, 'base64');
    assert.equal(ours.secret, text(noble.decapsulate(sealed, secretKey)));

    const valid = Buffer.from(theirs.cipherText);
    const context = { scheme: algorithm, data, privateKey, publicKey };
    for (const { name, mutate } of refusalsFor(algorithm)) {
      const refusal = (error: unknown) => isKeyreeveError(error, 'invalid-ciphertext');
      await assert.rejects(open(mutate(valid, context)), refusal, name);
    }
    // FIPS 203, 6.3: implicit rejection, the same in both implementations.
    for (const index of [0, valid.length >> 1, valid.length - 1]) {
      const altered = Buffer.from(valid);
      altered[index]! ^= 1;
      const secret = await open(altered);
      assert.notEqual(secret, text(theirs.sharedSecret));
      assert.equal(secret, text(noble.decapsulate(altered, secretKey)));
    }
  });
}

test('what is authenticated with a ciphertext belongs to it', async () => {
  const held = await importKey('aes-256', 'encrypt');
  const params = { key: held.name };
  for (const scheme of ['xaes-256-gcm', 'aes-256-gcm'] as const) {
    const sealed = { scheme, plaintext: message, context: message };
    const { ciphertext } = await client.call('key.encrypt', { params, body: sealed });
    const open = (context?: string) =>
      opened(
        client.call('key.decrypt', {
          params,
          body: { scheme, ciphertext, ...(context === undefined ? {} : { context }) },
        }),
      );
    assert.equal(await open(message), message);
    assert.equal(await open(other), 'invalid-ciphertext');
    assert.equal(await open(), 'invalid-ciphertext');
  }
});

test('a key does what it is for and nothing else', async () => {
  const body = { name: 'refusals/ca', algorithm: 'p-256', subject: 'CN=Refusals' } as const;
  await client.call('ca.create', { body });
  const params = { key: body.name };
  const refuses = (call: Promise<unknown>) =>
    assert.rejects(call, (error) => isKeyreeveError(error, 'purpose-not-allowed'));
  await refuses(client.call('key.sign', { params, body: { data: message } }));
  await refuses(client.call('key.verify', { params, body: { data: message, signature: message } }));
  await refuses(client.call('key.encrypt', { params, body: { plaintext: message } }));
  await refuses(client.call('key.agree', { params, body: { peer: message } }));
});

test('what was refused is on the record with its code', async () => {
  const key = 'refusals/wrapping';
  await client.call('key.create', { body: { name: key, algorithm: 'aes-256', purpose: 'wrap' } });
  const correlationId = 'refused-unwrap';
  const body = { wrapped: message };
  await assert.rejects(client.call('key.unwrap', { params: { key }, body, correlationId }));
  const found = async () => {
    const { items } = await client.call('audit.list', { query: { correlationId } });
    return items;
  };
  await eventually(async () => (await found()).length > 0);
  const [entry] = await found();
  assert.equal(entry?.action, 'key.unwrap');
  assert.equal(entry?.outcome, 'invalid-ciphertext');
  assert.equal(entry?.keyName, key);
});
