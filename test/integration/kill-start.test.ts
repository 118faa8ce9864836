import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { logIn, makeInstallation, startService } from '../service.ts';

const rounds = 4;
const main = join(import.meta.dirname, '..', '..', 'server', 'main.ts');

test('kill -9 in the middle of the very first start leaves what starts again', async (t) => {
  // How long a whole first start takes here: the kills are spread over it.
  const begun = performance.now();
  const whole = await startService(t, makeInstallation(t));
  const milliseconds = performance.now() - begun;
  await whole.stop();
  let halfMade = 0;
  for (let round = 0; round < rounds; round++) {
    const installation = makeInstallation(t);
    const child = spawn(process.execPath, ['--disable-sigusr1', main], {
      env: installation.environment,
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const share = 0.3 + (0.7 * (round + Math.random())) / rounds;
    await new Promise((resolve) => setTimeout(resolve, milliseconds * share));
    child.kill('SIGKILL');
    await ended;
    if (existsSync(installation.data)) halfMade++;

    const service = await startService(t, installation);
    const { client } = await logIn(t, service);
    const body = { name: 'first/key', algorithm: 'p-256', purpose: 'sign' } as const;
    assert.equal((await client.call('key.create', { body })).currentVersion, 1);
    assert.equal((await client.call('audit.verify', { body: {} })).ok, true);
    assert.equal(await service.stop(), 0);
    const left = readdirSync(installation.seal).filter((name) => name.startsWith('.root.key'));
    assert.deepEqual(left, [], 'a root key that was never used was left');
  }
  t.diagnostic(`${halfMade} of ${rounds} kills came after the folder was made`);
});
