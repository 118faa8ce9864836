import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { KeyreeveError } from '../../base/errors.ts';
import { settleIntents } from '../../keys/keys.ts';
import { parseCertificate } from '../../x509/x509.ts';
import { opensslRefuses, openTestAuthorities, pemList } from './testing.ts';

const refused = (code: string, text = /./) => ({ code, message: text });

test('a root, a module and a base: three CAs in two keystores, whose chain openssl accepts', async () => {
  await using opened = await openTestAuthorities({
    addresses: (fingerprint) => ({ crl: `http://pki.example.org/crl/${fingerprint}.crl` }),
    notes: ['something to know'],
  });
  const { make, ca, clock, folder } = opened;
  const root = await make('ca/root', { subject: 'CN=Example Root,O=Example,C=DE' });
  const constraints = { permitted: ['dns:example.org'], excluded: ['dns:old.example.org'] };
  const module = await make('ca/module', {
    parent: 'ca/root',
    keystore: 'file',
    pathLength: 1,
    nameConstraints: constraints,
    settings: { profiles: ['intermediate', 'tls-client'], crlEverySeconds: 3600 },
  });
  const base = await make('ca/base', { parent: 'ca/module', algorithm: 'rsa-2048' });
  assert.deepEqual(
    [root, module, base].map((view) => [view.name, view.parent, view.isRoot, view.keystore]),
    [
      ['ca/root', null, true, 'wrapped'],
      ['ca/module', 'ca/root', false, 'file'],
      ['ca/base', 'ca/module', false, 'wrapped'],
    ],
  );
  assert.deepEqual(module.nameConstraints, constraints);
  assert.deepEqual([root.pathLength, module.pathLength, base.pathLength], [null, 1, 0]);
  assert.deepEqual([base.algorithm, base.scheme], ['rsa-2048', 'rsa-pkcs1-sha256']);
  assert.deepEqual(root.notes, ['something to know']);
  const [version] = base.versions;
  assert.equal(version!.crlUrl, `http://pki.example.org/crl/${version!.keyFingerprint}.crl`);
  assert.deepEqual([version!.crlNumber, version!.crlPublishedAt], [0, null]);
  assert.equal(version!.crlDueAt, new Date(clock.now()).toISOString(), 'the first one is due now');
  const { crlDistributionPoints } = parseCertificate(derOf(version!.certificate)).extensions;
  assert.deepEqual(crlDistributionPoints, [module.versions[0]!.crlUrl], 'the list of its issuer');

  const chain = await ca('ca.chain', 'ca/base');
  const [own, above, top, ...rest] = pemList(chain.chain);
  assert.deepEqual([chain.version, rest.length, chain.cross], [1, 0, '']);
  assert.equal(own, version!.certificate);
  assert.equal(top, root.versions[0]!.certificate);
  const given = { trusted: top!, untrusted: above! + own!, now: clock.now() };
  const leaf = await opened.leaf('ca/base');
  assert.equal(opensslRefuses(folder, own!, given), undefined);
  assert.equal(opensslRefuses(folder, leaf, given), undefined);
  assert.match(opensslRefuses(folder, leaf, { ...given, untrusted: own! })!, /unable to get/);
  // What was answered is what is stored, but for what was counted since.
  assert.deepEqual(await ca('ca.show', 'ca/base'), {
    ...base,
    counts: { valid: 1, revoked: 0, expired: 0 },
  });
  const shown = await ca('ca.show', root.id);
  assert.deepEqual(shown.counts, { valid: 2, revoked: 0, expired: 0 }, 'its own and the module');
  clock.advance(5.5 * 365 * 86_400);
  const later = await ca('ca.show', 'ca/root');
  assert.deepEqual(later.counts, { valid: 1, revoked: 0, expired: 1 });
});

for (const [algorithm, scheme] of [
  ['rsa-2048', 'rsa-pss-sha256'],
  ['p-384', undefined],
  ['p-521', undefined],
  ['ed25519', undefined],
  ['ml-dsa-65', undefined],
  ['slh-dsa-sha2-128f', undefined],
] as const) {
  test(`a root and an intermediate by ${scheme ?? algorithm}`, async () => {
    await using opened = await openTestAuthorities();
    const { make, ca, clock, folder } = opened;
    const body = { algorithm, ...(scheme === undefined ? {} : { scheme }) };
    const root = await make('root', body);
    await make('below', { ...body, parent: 'root' });
    const leaf = await opened.leaf('below');
    const [below, top] = pemList((await ca('ca.chain', 'below')).chain);
    assert.equal(root.scheme, scheme ?? root.scheme);
    const certificates = [leaf, below!, top!, top!].map((pem) => new X509Certificate(pem));
    for (const [index, issuer] of certificates.slice(1).entries()) {
      assert.ok(certificates[index]!.verify(issuer.publicKey), `certificate ${index}`);
      assert.ok(certificates[index]!.checkIssued(issuer));
    }
    assert.ok(!certificates[0]!.verify(certificates[2]!.publicKey));
    if (root.algorithm.includes('dsa-')) return; // This openssl is older than these.
    const given = { trusted: top!, untrusted: below!, now: clock.now() };
    assert.equal(opensslRefuses(folder, leaf, given), undefined);
  });
}

test('what does not fit is refused with its reason, and nothing of it stays', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, storage, folder, create } = opened;
  await make('root', { pathLength: 1, nameConstraints: { permitted: ['dns:example.org'] } });
  await make('below', { parent: 'root', settings: { profiles: ['tls-client'] } });
  await create({ name: 'plain', algorithm: 'p-256', purpose: 'sign' });
  const attempts: [object, string][] = [
    [{ name: 'root' }, 'already-exists'],
    [{ name: 'plain' }, 'already-exists'],
    [{ subject: 'CN=root,O=Example' }, 'already-exists'],
    [{ subject: 'CN= ROOT,O=example' }, 'already-exists'],
    [{ subject: 'CN=ro\u200bot\u00ad,O=Example' }, 'already-exists'],
    [{ parent: 'below' }, 'profile-not-allowed'],
    [{ parent: 'root', pathLength: 1 }, 'path-length-exceeded'],
    [{ parent: 'root', validitySeconds: 30 * 365 * 86_400 }, 'validity-not-allowed'],
    [{ parent: 'nobody' }, 'not-found'],
    [{ parent: 'plain' }, 'not-found'],
    [{ subject: 'O=Nobody' }, 'subject-not-allowed'],
    [{ subject: 'not a name' }, 'subject-not-allowed'],
    [{ nameConstraints: { permitted: ['dns:*'] } }, 'subject-not-allowed'],
    [{ algorithm: 'x25519' }, 'algorithm-purpose-mismatch'],
    [{ algorithm: 'secp256k1' }, 'algorithm-purpose-mismatch'],
    [{ algorithm: 'rsa-9' }, 'unknown-algorithm'],
    [{ scheme: 'ed25519' }, 'unknown-scheme'],
    [{ keystore: 'hsm' }, 'invalid-request'],
    [{ name: 'system/ca' }, 'forbidden'],
    [{ settings: { profiles: ['nothing'] } }, 'unknown-profile'],
    [{ settings: { crlEverySeconds: 86_400, crlValiditySeconds: 3600 } }, 'invalid-request'],
  ];
  for (const [body, code] of attempts) {
    await assert.rejects(make('new', { keystore: 'file', ...body }), (error: KeyreeveError) => {
      assert.equal(error.code, code, `${JSON.stringify(body)}: ${error.message}`);
      return true;
    });
  }
  const { items } = await ca('ca.list', '', {}, { limit: 50 });
  assert.deepEqual(
    items.map((view) => view.name),
    ['below', 'root'],
  );
  assert.deepEqual(keyFiles(folder), [], 'no key file is left');
  assert.deepEqual(await storage.db.selectFrom('intent').select('id').execute(), []);
});

test('who may not make CAs, or not certify by the parent, makes none', async () => {
  await using opened = await openTestAuthorities();
  const { make, rights, ca } = opened;
  await make('root');
  for (const action of ['ca.create', 'ca.certify']) {
    rights.authorise = (_caller, asked) => {
      if (asked === action) throw new KeyreeveError('forbidden', `${asked} is not allowed.`);
    };
    await assert.rejects(
      make('below', { parent: 'root' }),
      refused('forbidden', new RegExp(action)),
    );
  }
  rights.authorise = (_caller, asked) => {
    if (asked !== 'ca.show') return;
    throw new KeyreeveError('forbidden', 'Not allowed.');
  };
  // Who may see nothing learns nothing of what there is.
  for (const name of ['root', 'none']) {
    await assert.rejects(ca('ca.show', name), refused('forbidden', /^Not allowed[.]$/));
  }
  assert.deepEqual((await ca('ca.list', '', {}, { limit: 50 })).items, []);
  assert.equal(pemList((await ca('ca.chain', 'root')).chain).length, 1, 'public material');
});

test('where the write is refused, key and certificate are taken back', async () => {
  await using opened = await openTestAuthorities({
    signing: (signer) => ({
      signSelf: (...asked) => signer.signSelf(...asked),
      undo: (made) => signer.undo(made),
      // Somebody changes the parent while its certificate is being made.
      sign: async (...asked) => {
        const signed = await signer.sign(...asked);
        await opened.ca('ca.update', 'root', { settings: { validitySecondsMax: 86_400 } });
        return signed;
      },
    }),
  });
  const { make, ca, storage, folder, keys } = opened;
  await make('root');
  await assert.rejects(make('below', { parent: 'root', keystore: 'file' }), refused('conflict'));
  await assert.rejects(ca('ca.show', 'below'), refused('not-found'));
  assert.deepEqual(keyFiles(folder), []);
  // The signature was made: its certificate is on the list of the parent.
  assert.deepEqual((await ca('ca.show', 'root')).counts, { valid: 1, revoked: 1, expired: 0 });
  assert.deepEqual(await storage.db.selectFrom('intent').select('id').execute(), []);
  assert.equal(await settleIntents(keys), 0);
});

test('the same request by the same idempotency key makes one CA', async () => {
  await using opened = await openTestAuthorities();
  const first = await opened.make('root', {}, 'once');
  assert.deepEqual(await opened.make('root', {}, 'once'), first);
  await assert.rejects(
    opened.make('root', { pathLength: 1 }, 'once'),
    refused('idempotency-mismatch'),
  );
});

test('two CAs of one name at the same time: one is made', async () => {
  await using opened = await openTestAuthorities();
  const subject = 'CN=The same';
  const made = await Promise.allSettled(
    ['a', 'b', 'c'].map((name) => opened.make(name, { subject })),
  );
  assert.equal(made.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const each of made) {
    if (each.status === 'rejected') assert.equal(each.reason.code, 'already-exists');
  }
});

/** What lies in the keystore `file`. */
function keyFiles(folder: string): string[] {
  const found = readdirSync(join(folder, 'files'), { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

function derOf(pem: string): Buffer {
  return new X509Certificate(pem).raw;
}
