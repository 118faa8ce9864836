import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { createClient } from '../../client/api-client.ts';
import { loadConfig } from '../../server/config/config.ts';
import { HandTime } from '../../server/schedule/schedule.fixture.ts';
import { startService } from '../../server/service.ts';
import { eventually } from '../eventually.ts';
import { startPostgres } from '../postgres.ts';
import { rawRequests } from '../raw-request.ts';
import { logIn, makeInstallation, startService as startProcess } from '../service.ts';

const moment = () => new Promise<void>((resolve) => setTimeout(resolve, 5));

test('a key is rotated after its policy, and status and metrics show what repeats', async (t) => {
  let stop: () => Promise<unknown> = async () => undefined;
  // Before its folders are removed.
  t.after(() => stop());
  const time = new HandTime(Date.now());
  const { environment } = makeInstallation(t);
  const service = await startService({
    config: loadConfig(environment),
    log: pino({ level: 'silent' }),
    clock: time,
    timer: time,
  });
  stop = () => service.stop();
  const visitor = createClient({ url: service.url, caPem: service.caPem });
  const { token } = await visitor.call('login', { body: { code: service.firstLoginCode! } });
  visitor.close();
  const client = createClient({ url: service.url, caPem: service.caPem, token });
  t.after(() => client.close());

  await client.call('key.create', {
    body: {
      name: 'app/short-lived',
      algorithm: 'ed25519',
      purpose: 'sign',
      policy: { rotateEverySeconds: 60 },
    },
  });
  const current = async () =>
    (await client.call('key.show', { params: { key: 'app/short-lived' } })).currentVersion;
  await time.advance(59, moment);
  assert.equal(await current(), 1);
  for (let waited = 0; waited < 200 && (await current()) === 1; waited++) {
    await time.advance(1, moment);
  }
  assert.equal(await current(), 2);
  const found = await client.call('audit.list', { query: { action: 'key.rotate' } });
  assert.equal(found.items.length, 1);
  assert.equal(found.items[0]!.kind, 'event');

  const { jobs } = await client.call('status');
  const job = (name: string) => jobs.find((one) => one.name === name);
  assert.deepEqual(
    [job('rotating keys that are due')?.scope, job('rotating keys that are due')?.failures],
    ['one-node', 0],
  );
  assert.notEqual(job('rotating keys that are due')?.succeededAt, null);
  assert.equal(job('serving CRLs')?.scope, 'each-node');
  assert.equal(job('publishing checkpoints')?.reason, null);

  const raw = rawRequests(t, service.url, service.caPem);
  const metrics = await raw('GET', '/metrics', { token });
  assert.match(metrics.text, /keyreeve_job_failures\{job="publishing CRLs"\} 0/);
  assert.match(
    metrics.text,
    /keyreeve_job_success_age_seconds\{job="rotating keys that are due"\}/,
  );
});

test('of two nodes one does each job, and the other goes on with it when that one stops', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  const cleanups: (() => unknown)[] = [() => server.remove()];
  t.after(async () => {
    for (const clean of cleanups.reverse()) await clean();
  });
  const cleanup = { after: (clean: () => unknown) => void cleanups.push(clean) };
  const url = server.createDatabase('schedule');
  const [one, other] = [makeInstallation(cleanup), makeInstallation(cleanup)];
  for (const { environment } of [one, other]) {
    environment.KEYREEVE_DATABASE_URL = url;
    environment.KEYREEVE_SEAL = one.seal;
  }
  const first = await startProcess(cleanup, one);
  const login = await logIn(cleanup, first);
  const publisher = async (client: typeof login.client) => {
    const { jobs } = await client.call('status');
    return jobs.find(({ name }) => name === 'publishing CRLs')!;
  };
  await eventually(async () => (await publisher(login.client)).succeededAt !== null);
  const holder = (await publisher(login.client)).node;
  const second = await startProcess(cleanup, other);
  const elsewhere = login.at(second.url);
  const seen = await publisher(elsewhere);
  assert.equal(seen.node, holder);
  await first.stop();
  await eventually(async () => {
    const job = await publisher(elsewhere);
    return job.node !== holder && job.succeededAt !== null && job.failures === 0;
  });
});
