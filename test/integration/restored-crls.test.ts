import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseCrl } from '../../server/x509/x509.ts';
import { eventually } from '../eventually.ts';
import { commandLine, keyreeve, startLoggedIn, startService } from '../service.ts';

test('after each restore the numbers of CRLs are above all those before', async (t) => {
  const { installation, service, client, login } = await startLoggedIn(t);
  const body = { name: 'restored/root', subject: 'CN=Restored', algorithm: 'p-256' };
  const { versions } = await client.call('ca.create', { body });
  const path = `/crl/${versions[0]!.keyFingerprint.slice(0, 40)}.crl`;
  const served = async (base: string) => {
    const answer = await fetch(base + path);
    return answer.ok ? parseCrl(Buffer.from(await answer.arrayBuffer())).number : undefined;
  };
  await eventually(async () => (await served(service.httpUrl!)) === 1n);

  const word = join(installation.folder, 'word');
  const backup = join(installation.folder, 'backup.gpg');
  writeFileSync(word, 'correct horse battery staple\n', { mode: 0o600 });
  const made = await commandLine(
    installation,
    service,
    login,
  )([...['backup', 'create', backup, '--passphrase-file', word]]);
  assert.equal(made.code, 0, made.stderr);
  assert.equal(await service.stop(), 0);

  let highest = 1n;
  for (const name of ['restored', 'restored-again']) {
    const data = join(installation.folder, name);
    cpSync(installation.seal, `${data}.seal`, { recursive: true });
    const environment = { KEYREEVE_DATA: data };
    const begun = BigInt(Math.floor(Date.now() / 1000));
    const restored = await keyreeve(
      installation,
      ['backup', 'restore', backup, '--passphrase-file', word],
      { environment },
    );
    assert.equal(restored.code, 0, restored.stderr);
    const again = await startService(t, installation, environment);
    // Due at once, though the regular time is far away.
    await eventually(async () => ((await served(again.httpUrl!)) ?? 0n) > highest);
    highest = (await served(again.httpUrl!))!;
    assert.ok(highest > begun);
    const view = await login.at(again.url).call('ca.show', { params: { ca: 'restored/root' } });
    assert.equal(BigInt(view.versions[0]!.crlNumber), highest);
    assert.equal(await again.stop(), 0);
  }
});
