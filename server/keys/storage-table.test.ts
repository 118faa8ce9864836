import assert from 'node:assert/strict';
import { chmodSync, chownSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { policy as policySchema } from '../../api/fields.ts';
import { operationsOf } from '../../api/states.ts';
import {
  keystoreKinds,
  type StorageClass,
  type StorageClassName,
  storageClasses,
  storageClassNames,
} from '../../api/storage-classes.ts';
import { skip } from '../../test/tools.ts';
import { newId } from '../base/ids.ts';
import { requireStorage, withStorageClass } from './storage-rules.ts';
import { store } from './store-key.ts';
import { countEntries, openTestKeys } from './testing.ts';

const refused = { code: 'storage-not-allowed' };
const data = Buffer.from('a message').toString('base64');

async function open() {
  const keys = await openTestKeys();
  return Object.assign(keys, { [Symbol.asyncDispose]: keys.close });
}

/** A request for a key of the class, right in all but the keystore. */
function request(name: StorageClassName, keystore: string) {
  const row: StorageClass = storageClasses[name];
  const purpose = row.purpose ?? 'sign';
  return {
    name: `kept/${name}-${keystore}`,
    algorithm: 'p-256',
    purpose,
    keystore,
    policy: { storage: name },
  };
}

for (const name of storageClassNames) {
  const row: StorageClass = storageClasses[name];

  test(`${name}: every kind of keystore but those of its row is refused`, () => {
    const facts = { policy: { storage: name }, purpose: row.purpose ?? 'sign' } as const;
    for (const kind of keystoreKinds) {
      const ask = () => requireStorage('default', facts, { name: kind, kind });
      if (row.keystores.includes(kind)) ask();
      else assert.throws(ask, { ...refused, hint: row.instead });
    }
  });

  test(`${name}: no key of it is made in a keystore that may not hold it, and nothing is left`, async () => {
    await using keys = await open();
    for (const keystore of ['wrapped', 'file']) {
      const making = request(name, keystore);
      // A CA's key is made together with its CA; the rule of storage is asked all the same.
      if (making.purpose === 'ca' || row.keystores.some((kind) => kind === keystore)) continue;
      await assert.rejects(keys.create(making), refused);
      assert.equal(await keys.keys.store.find(making.name), undefined);
      assert.deepEqual(await keys.storage.db.selectFrom('intent').selectAll().execute(), []);
    }
    assert.ok(
      row.purpose === 'ca' || (await countEntries(keys.storage)) > 0,
      'refusals are entries',
    );
  });

  test(`${name}: the step that all making, importing and rotating goes through asks the row`, async () => {
    await using keys = await open();
    for (const keystore of keys.keystores.all()) {
      if (row.keystores.includes(keystore.kind)) continue;
      const key = {
        id: newId('key'),
        name: 'kept/one',
        purpose: row.purpose ?? 'sign',
        schemes: [],
        policy: { ...policySchema.parse({ storage: name }), recovery: 'replica' as const },
      };
      await assert.rejects(store(keystore, key, { version: 1 }, 'p-256'), refused);
    }
  });

  test(`${name}: what its row says is done with it is what its purpose can do`, () => {
    assert.deepEqual(row.purpose === undefined ? [] : operationsOf(row.purpose), row.operations);
  });
}

test('a key of another purpose than the row’s is refused in the right keystore as well', () => {
  for (const [name, kind] of [
    ['root-ca', 'pkcs11'],
    ['tls-server', 'file'],
  ] as const) {
    const facts = { policy: { storage: name }, purpose: 'encrypt' } as const;
    assert.throws(() => requireStorage('default', facts, { name: kind, kind }), refused);
  }
});

function fileOf(folder: string, uri: string): string {
  return join(folder, 'files', 'private', `${uri.slice('file:'.length)}.pem`);
}

test('tls-server: a key in a file of the right mode and owner signs; any other mode is refused', async () => {
  await using keys = await open();
  const key = await keys.create(request('tls-server', 'file'));
  const version = (await keys.keys.store.fresh(key.id)).versions[0]!;
  const path = fileOf(keys.folder, version.uri);
  await keys.call('key.sign', key.name, { data });
  for (const mode of [0o640, 0o604, 0o660]) {
    chmodSync(path, mode);
    keys.keys.forget(await keys.keys.store.fresh(key.id));
    await assert.rejects(keys.keys.open(version), { code: 'lax-mode' });
    await assert.rejects(keys.call('key.sign', key.name, { data }), { code: 'lax-mode' });
  }
  chmodSync(path, 0o600);
  await keys.call('key.sign', key.name, { data });
});

test('tls-server: a key file, or a folder of them, that another user owns is refused', async (t) => {
  const user = process.getuid?.();
  if (user !== 0) return skip(t, 'giving files away takes root');
  await using keys = await open();
  const key = await keys.create(request('tls-server', 'file'));
  const files = join(keys.folder, 'files');
  const { uri } = (await keys.keys.store.fresh(key.id)).versions[0]!;
  for (const path of [fileOf(keys.folder, uri), join(files, 'private'), files]) {
    chownSync(path, 65_534, 65_534);
    keys.keys.forget(await keys.keys.store.fresh(key.id));
    await assert.rejects(keys.call('key.sign', key.name, { data }), {
      code: 'lax-mode',
      hint: `Run: chown ${user} ${path}`,
    });
    chownSync(path, user, user);
  }
  await keys.call('key.sign', key.name, { data });
});

test('an import and a rotation are held to the class as making is', async () => {
  await using keys = await open();
  const making = request('tls-client', 'wrapped');
  await assert.rejects(
    keys.handlers['key.import']({
      caller: keys.caller(),
      params: {},
      query: {},
      body: {
        ...making,
        labels: {},
        policy: policySchema.parse(making.policy),
        material: Buffer.from(
          '302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
          'hex',
        ).toString('base64'),
        algorithm: 'ed25519',
      },
      idempotencyKey: undefined,
    }),
    refused,
  );
  const key = await keys.create(request('tls-server', 'file'));
  assert.equal((await keys.call('key.rotate', key.name)).currentVersion, 2);
  // As a restored or edited database could have it: the rule is asked again at each rotation.
  const row = await keys.keys.store.fresh(key.id);
  const { keystore: _, ...rest } = row;
  await keys.storage.commit({
    steps: [
      {
        query: keys.storage.db
          .updateTable('key')
          .set({ policy_json: JSON.stringify({ ...rest.policy, storage: 'root-ca' }) })
          .where('id', '=', key.id)
          .compile(),
      },
    ],
    entries: [],
    raisesEpoch: true,
  });
  await assert.rejects(keys.call('key.rotate', key.name), refused);
});

test('the class is fixed at creation: neither changed, nor taken away, nor given later', async () => {
  await using keys = await open();
  const key = await keys.create(request('tls-server', 'file'));
  const plain = await keys.create({ name: 'plain', algorithm: 'p-256', purpose: 'sign' });
  const bare = policySchema.parse({});
  for (const [name, policy] of [
    [key.name, bare],
    [key.name, { ...bare, storage: 'tls-client' }],
    [plain.name, { ...bare, storage: 'tls-server' }],
  ] as const) {
    await assert.rejects(keys.call('key.update', name, { policy }), { code: 'invalid-policy' });
  }
  await keys.call('key.update', key.name, {
    policy: { ...bare, storage: 'tls-server', reviewEverySeconds: 86_400 },
  });
});

test('by default the table binds the keys that name a class; enforced, it binds the rest as well', () => {
  const file = { name: 'file', kind: 'file' } as const;
  const wrapped = { name: 'wrapped', kind: 'wrapped' } as const;
  const hsm = { name: 'hsm', kind: 'pkcs11' } as const;
  const policy = {};
  const root = { policy, purpose: 'ca', isRoot: true } as const;
  const intermediate = { policy, purpose: 'ca', isRoot: false } as const;
  const client = { policy, purpose: 'sign', extendedKeyUsage: ['clientAuth'] } as const;
  const server = { policy, purpose: 'sign', extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] } as const;
  // Such a certificate is for everything (RFC 5280, section 4.2.1.12).
  const any = { policy, purpose: 'sign', extendedKeyUsage: ['2.5.29.37.0'] } as const;
  const unlimited = { policy, purpose: 'sign', extendedKeyUsage: [] } as const;
  const signing = { policy, purpose: 'sign', extendedKeyUsage: ['codeSigning'] } as const;
  for (const facts of [root, intermediate, client, server, any, unlimited, signing]) {
    for (const keystore of [file, wrapped, hsm]) requireStorage('default', facts, keystore);
  }
  for (const [facts, allowed] of [
    [root, [hsm]],
    [intermediate, [file, wrapped, hsm]],
    [client, []],
    [server, [file, hsm]],
    [any, []],
    [unlimited, []],
    [signing, [file, wrapped, hsm]],
    [{ ...intermediate, extendedKeyUsage: [] }, [file, wrapped, hsm]],
  ] as const) {
    for (const keystore of [file, wrapped, hsm]) {
      const ask = () => requireStorage('enforced', facts, keystore);
      if ((allowed as readonly object[]).includes(keystore)) ask();
      else assert.throws(ask, refused);
    }
  }
});

test('where the table is enforced, a new root is given its class, and an intermediate none', () => {
  const policy = policySchema.parse({});
  assert.equal(withStorageClass('enforced', policy, true).storage, 'root-ca');
  assert.equal(withStorageClass('enforced', policy, false).storage, undefined);
  assert.equal(withStorageClass('default', policy, true).storage, undefined);
});

test('the manual has the table as the code has it', () => {
  const manual = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'storage.md'), 'utf8');
  for (const name of storageClassNames) {
    const { key, storage, access, keystores }: StorageClass = storageClasses[name];
    const kinds =
      keystores.length === 0
        ? 'none: it is on the device'
        : keystores.map((kind) => `\`${kind}\``).join(', ');
    assert.ok(manual.includes(`| \`${name}\` | ${key} | ${storage} | ${access} | ${kinds} |\n`));
  }
});
