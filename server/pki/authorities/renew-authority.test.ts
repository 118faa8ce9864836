import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { parseCertificate } from '../../x509/x509.ts';
import { opensslRefuses, openTestAuthorities, pemList } from './testing.ts';

const refused = (code: string, text = /./) => ({ code, message: text });
const day = 86_400;

test('a root and an intermediate are renewed: the key stays, chains show what is new', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, clock, folder, leaf } = opened;
  await make('root', { pathLength: 1 });
  await make('below', { parent: 'root' });
  const oldLeaf = await leaf('below');
  const before = pemList((await ca('ca.chain', 'below')).chain);
  clock.advance(300 * day);
  const root = await ca('ca.renew', 'root', { sawVersion: 1 });
  const below = await ca('ca.renew', 'below', { validitySeconds: 1000 * day });
  assert.deepEqual([root.currentVersion, root.versions.length, root.pathLength], [1, 1, 1]);
  assert.equal(root.counts.valid, 3);
  assert.equal((await ca('ca.show', 'root')).counts.valid, 4);
  assert.deepEqual(await ca('ca.show', 'below'), below);
  const after = pemList((await ca('ca.chain', 'below')).chain);
  assert.deepEqual(after, [below.versions[0]!.certificate, root.versions[0]!.certificate]);
  for (const [index, pem] of after.entries()) {
    const [old, fresh] = [before[index]!, pem].map((each) => parseCertificate(derOf(each)));
    assert.ok(fresh!.spki.equals(old!.spki) && fresh!.subject.equals(old!.subject));
    assert.deepEqual(fresh!.extensions.subjectKeyId, old!.extensions.subjectKeyId);
    assert.ok(!fresh!.serial.equals(old!.serial));
    assert.ok(fresh!.notBefore > old!.notBefore);
  }
  // What was issued before leads to the new certificates too.
  const given = { trusted: after[1]!, untrusted: after[0]!, now: clock.now() };
  assert.equal(opensslRefuses(folder, await leaf('below'), given), undefined);
  assert.equal(opensslRefuses(folder, oldLeaf, given), undefined);
});

test('a renewal is refused where it saw another version, or the certificate was revoked', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, storage } = opened;
  await make('root');
  await make('below', { parent: 'root' });
  await assert.rejects(ca('ca.renew', 'below', { sawVersion: 2 }), refused('conflict'));
  await assert.rejects(
    ca('ca.renew', 'below', { validitySeconds: 25 * 365 * day }),
    refused('validity-not-allowed'),
  );
  const { id } = await ca('ca.show', 'below');
  const revoked = storage.db
    .updateTable('certificate')
    .set({ revoked_at: opened.clock.now(), reason: 'superseded' })
    .where('key_id', '=', id);
  await storage.commit({ steps: [{ query: revoked.compile() }], entries: [], raisesEpoch: true });
  await assert.rejects(ca('ca.renew', 'below'), refused('state-not-allowed', /revoked/));
  await assert.rejects(opened.leaf('below'), refused('state-not-allowed', /revoked/));
  assert.equal((await ca('ca.rekey', 'below')).currentVersion, 2, 'a new key is trusted again');
  await opened.leaf('below');
});

function derOf(pem: string): Buffer {
  return new X509Certificate(pem).raw;
}
