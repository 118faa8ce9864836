import assert from 'node:assert/strict';

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { pino } from 'pino';
import { systemClock } from '../../server/base/clock.ts';
import { loadConfig } from '../../server/config/config.ts';
import { startService as startHere } from '../../server/service.ts';
import { eventually } from '../eventually.ts';
import { type Installation, makeInstallation, startService } from '../service.ts';

const dayMilliseconds = 86_400_000;

/** A clock that is behind by so many days until it is set right; it does not jump by itself. */
function clockBehind(days: number) {
  const clock = {
    behind: days * dayMilliseconds,
    now: () => systemClock.now() - clock.behind,
    monotonic: () => systemClock.monotonic() - clock.behind,
  };
  return clock;
}

/** A connection that stays: the certificate it was made with, and requests over it. */
async function keptConnection(t: TestContext, url: string, ca: string, servername = 'localhost') {
  const { hostname: host, port } = new URL(url);
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const made = connect({ host, port: Number(port), ca, servername }, () => resolve(made));
    made.once('error', reject);
  });
  t.after(() => socket.destroy());
  socket.setEncoding('utf8');
  const ask = () =>
    new Promise<string>((resolve, reject) => {
      socket.once('data', (text) => resolve(String(text)));
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the connection was dropped')));
      socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    });
  return { ask, serial: socket.getPeerX509Certificate()!.serialNumber, socket };
}

test('the certificate is renewed while connections stand: they go on, new ones have the new one', async (t) => {
  const clock = clockBehind(61);
  const installation = makeInstallation(t);
  const service = await startHere({
    config: loadConfig(installation.environment),
    log: pino({ level: 'silent' }),
    clock,
    renewalSeconds: 0.05,
  });
  t.after(() => service.stop());
  const { url, caPem } = service;
  const old = await keptConnection(t, url, caPem);
  assert.match(await old.ask(), /^HTTP\/1\.1 200 /);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal((await keptConnection(t, url, caPem)).serial, old.serial);

  clock.behind = 0;
  await eventually(async () => (await keptConnection(t, url, caPem)).serial !== old.serial);
  assert.match(await old.ask(), /^HTTP\/1\.1 200 /);
  assert.match(await old.ask(), /^HTTP\/1\.1 200 /);
  assert.equal(old.socket.getPeerX509Certificate()!.serialNumber, old.serial);
  const young = await keptConnection(t, url, caPem);
  assert.match(await young.ask(), /^HTTP\/1\.1 200 /);
  const { validToDate } = young.socket.getPeerX509Certificate()!;
  assert.ok(validToDate.getTime() > Date.now() + 89 * dayMilliseconds);
  assert.equal(service.caPem, caPem);
});

test('other names at a restart make another certificate under the same CA', async (t) => {
  const installation: Installation = makeInstallation(t, { KEYREEVE_TLS_NAMES: 'old.example.org' });
  const first = await startService(t, installation);
  const ca = readFileSync(join(installation.data, 'tls', 'ca.pem'), 'utf8');
  const old = await keptConnection(t, first.url, ca, 'old.example.org');
  assert.equal(await first.stop(), 0);

  const second = await startService(t, installation, { KEYREEVE_TLS_NAMES: 'new.example.org' });
  const young = await keptConnection(t, second.url, ca, 'new.example.org');
  assert.notEqual(young.serial, old.serial);
  await assert.rejects(keptConnection(t, second.url, ca, 'old.example.org'), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
  assert.equal(readFileSync(join(installation.data, 'tls', 'ca.pem'), 'utf8'), ca);
  assert.equal(await second.stop(), 0);

  const third = await startService(t, installation, { KEYREEVE_TLS_NAMES: 'new.example.org' });
  assert.equal((await keptConnection(t, third.url, ca, 'new.example.org')).serial, young.serial);
});
