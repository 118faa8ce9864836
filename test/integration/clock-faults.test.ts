import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { type ApiClient, createClient } from '../../client/api-client.ts';
import { systemClock } from '../../server/base/clock.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { loadConfig } from '../../server/config/config.ts';
import { startService } from '../../server/service.ts';
import { rawRequests } from '../raw-request.ts';
import { type Installation, makeInstallation } from '../service.ts';

/** A clock that jumps when the test says so, in seconds; what has passed it tells as it is. */
function jumpingClock() {
  let offset = 0;
  return {
    now: () => systemClock.now() + offset,
    monotonic: () => systemClock.monotonic(),
    jump(seconds: number) {
      offset += seconds * 1000;
    },
  };
}

/** The service in this process: its clock cannot be changed from outside. */
async function start(t: TestContext, installation: Installation, clock = jumpingClock()) {
  const config = loadConfig(installation.environment);
  const service = await startService({ config, log: pino({ level: 'silent' }), clock });
  let isStopped = false;
  const stop = async () => {
    if (!isStopped) await service.stop();
    isStopped = true;
  };
  t.after(stop);
  return { service, clock, stop };
}

async function logIn(
  t: TestContext,
  service: { url: string; caPem: string; firstLoginCode: string | undefined },
): Promise<ApiClient> {
  const { url, caPem } = service;
  const visitor = createClient({ url, caPem });
  const { token } = await visitor.call('login', { body: { code: service.firstLoginCode! } });
  visitor.close();
  const client = createClient({ url, caPem, token });
  t.after(() => client.close());
  return client;
}

const clockUnsafe = (error: unknown) => isKeyreeveError(error, 'clock-unsafe');

test('while the clock is off nothing is changed and no key is used, until it is right again', async (t) => {
  const { service, clock } = await start(t, makeInstallation(t));
  const client = await logIn(t, service);
  const raw = rawRequests(t, service.url, service.caPem);
  const create = (name: string) =>
    client.call('key.create', { body: { name, algorithm: 'p-256', purpose: 'sign' } });
  const sign = () =>
    client.call('key.sign', { params: { key: 'clock/key' }, body: { data: 'aGVsbG8=' } });
  const { versions } = await create('clock/key');
  for (const seconds of [31, -31, 600, -600]) {
    clock.jump(seconds);
    await assert.rejects(create('clock/never'), clockUnsafe);
    const body = { sawVersion: versions[0]!.version };
    const rotate = client.call('key.rotate', { params: { key: 'clock/key' }, body });
    await assert.rejects(rotate, clockUnsafe);
    assert.equal((await raw('GET', '/readyz')).status, 503);
    assert.equal((await raw('GET', '/healthz')).status, 200);
    await assert.rejects(sign(), clockUnsafe);
    // Not even a refusal is written with a time that is wrong.
    const unknown = client.call('key.destroy', { params: { key: 'clock/none' }, body: {} });
    await assert.rejects(unknown, clockUnsafe);
    clock.jump(-seconds);
    assert.equal((await sign()).version, 1);
    assert.equal((await raw('GET', '/readyz')).status, 200);
  }
  clock.jump(29);
  await create('clock/soon');
  const { items } = await client.call('key.list');
  assert.deepEqual(items.map((key) => key.name).sort(), ['clock/key', 'clock/soon']);
});

test('under a clock that is behind the record the service does not start', async (t) => {
  const installation = makeInstallation(t);
  const first = await start(t, installation);
  const client = await logIn(t, first.service);
  await client.call('key.create', {
    body: { name: 'clock/key', algorithm: 'p-256', purpose: 'sign' },
  });
  await first.stop();

  const late = jumpingClock();
  late.jump(-60);
  await assert.rejects(start(t, installation, late), (error) => {
    assert.ok(isKeyreeveError(error, 'clock-unsafe'), String(error));
    assert.match(error.message, /behind the newest entry/);
    return true;
  });
  const { stop } = await start(t, installation);
  await stop();
});
