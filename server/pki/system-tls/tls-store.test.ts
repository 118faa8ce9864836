import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { skip } from '../../../test/tools.ts';
import { certificateNames, openSystemTls } from './system-tls.ts';
import { TlsStore } from './tls-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyreeve-tls-store-'));
after(() => rmSync(folder, { recursive: true }));
const sealer = {
  seal: (_label: string, bytes: Uint8Array) => Buffer.from(bytes),
  unseal: (_label: string, sealed: Uint8Array) => sealed,
};
const caKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const clock = { now: () => Date.now(), monotonic: () => 0 };
const names = certificateNames({ listen: '127.0.0.1', hostname: 'keys', configured: [] });

async function opened(name: string) {
  const at = join(folder, name);
  const start = () => openSystemTls({ folder: at, caKey: async () => caKey, sealer, names, clock });
  const tls = await start();
  return { at, key: join(at, 'server.key.sealed'), start, caPem: tls.caPem };
}

test('the TLS key of the service is refused while others may read it', async () => {
  const { at, key, start, caPem } = await opened('mode');
  const before = readFileSync(key);
  chmodSync(key, 0o640);
  await assert.rejects(start(), { code: 'lax-mode', hint: `Run: chmod 600 ${key}` });
  const store = new TlsStore(at, sealer);
  assert.throws(() => store.loadServer(new X509Certificate(caPem)), { code: 'lax-mode' });
  chmodSync(key, 0o600);
  await start();
  assert.deepEqual(readFileSync(key), before, 'it was not made anew meanwhile');
});

test('the TLS key of the service and its folder are refused while they are another user’s', async (t) => {
  const user = process.getuid?.();
  if (user !== 0) return skip(t, 'giving files away takes root');
  const { at, key, start } = await opened('owner');
  for (const path of [key, at]) {
    chownSync(path, 65_534, 65_534);
    await assert.rejects(start(), { code: 'lax-mode', hint: `Run: chown ${user} ${path}` });
    chownSync(path, user, user);
  }
  await start();
});
