import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { nobleLattices, rawPublic } from '../post-quantum.ts';
import { makeInstallation, startService } from '../service.ts';
import { logInByCommand, mustRun } from '../shell.ts';

const installation = makeInstallation({ after });
await logInByCommand(installation, await startService({ after }, installation));
const must = async (script: string) =>
  (await mustRun(installation, `set -e\n${script}`)).stdout.toString();
const certificate = (name: string) =>
  new X509Certificate(readFileSync(join(installation.folder, name)));

test('an ML-DSA root signs an ML-DSA leaf that Node and a second implementation verify', async () => {
  await must(`
    keyreeve ca create pq/root --algorithm ml-dsa-65 --subject 'CN=Post-quantum root'
    keyreeve key create pq/leaf --algorithm ml-dsa-44 --purpose sign
    keyreeve cert issue --ca pq/root --profile tls-server --key pq/leaf --subject 'CN=pq.example.test' \
      --name dns:pq.example.test --out leaf.crt
    keyreeve ca chain pq/root --out root.pem`);
  const root = certificate('root.pem');
  const leaf = certificate('leaf.crt');
  assert.equal(root.publicKey.asymmetricKeyType, 'ml-dsa-65');
  assert.equal(leaf.publicKey.asymmetricKeyType, 'ml-dsa-44');
  assert.equal(leaf.checkIssued(root), true);
  assert.equal(leaf.verify(root.publicKey), true);
  assert.equal(root.verify(root.publicKey), true);
  for (const signed of [leaf, root]) {
    const { toBeSigned, signature } = parts(signed.raw);
    const publicKey = rawPublic(root.publicKey);
    assert.equal(nobleLattices['ml-dsa-65'].verify(signature, toBeSigned, publicKey), true);
    toBeSigned[toBeSigned.length - 1]! ^= 1;
    assert.equal(nobleLattices['ml-dsa-65'].verify(signature, toBeSigned, publicKey), false);
  }
});

/** The two ends of a certificate, by the lengths that DER gives: nothing of the product's reads it. */
function parts(der: Buffer): { toBeSigned: Buffer; signature: Buffer } {
  const outer = element(der, 0);
  const toBeSigned = element(der, outer.start);
  const algorithm = element(der, toBeSigned.end);
  const bits = element(der, algorithm.end);
  return {
    toBeSigned: Buffer.from(der.subarray(outer.start, toBeSigned.end)),
    // The first byte says how many bits are not used: none.
    signature: der.subarray(bits.start + 1, bits.end),
  };
}

/** Where the contents of an element start and end. */
function element(der: Buffer, at: number): { start: number; end: number } {
  const first = der[at + 1]!;
  if (first < 0x80) return { start: at + 2, end: at + 2 + first };
  const count = first & 0x7f;
  const start = at + 2 + count;
  return { start, end: start + der.readUIntBE(at + 2, count) };
}
