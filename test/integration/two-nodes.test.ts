import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import {
  type LoggedIn,
  logIn,
  makeInstallation,
  type RunningService,
  startService,
} from '../service.ts';
import { requireProgram, skip, tryRun } from '../tools.ts';

interface Cluster {
  readonly nodes: readonly [RunningService, RunningService];
  readonly login: LoggedIn;
}

const cleanups: (() => unknown)[] = [];
const whole = { after: (clean: () => unknown) => cleanups.push(clean) };
let postgres: TestPostgres | undefined;

after(async () => {
  for (const clean of cleanups.reverse()) await clean();
  postgres?.remove();
});

let cluster: Cluster | undefined;

before(async () => {
  postgres = startPostgres({ skip() {}, diagnostic() {} } as unknown as TestContext);
  if (postgres === undefined) return;
  const KEYREEVE_DATABASE_URL = postgres.createDatabase('cluster');
  const one = makeInstallation(whole, { KEYREEVE_DATABASE_URL });
  const other = makeInstallation(whole, { KEYREEVE_DATABASE_URL, KEYREEVE_SEAL: one.seal });
  // Both at once, on an empty database: one of them makes everything.
  const nodes = await Promise.all([startService(whole, one), startService(whole, other)]);
  cluster = {
    nodes: nodes as [RunningService, RunningService],
    login: await logIn(whole, nodes[0]!),
  };
});

test('a token that one node revoked is refused by the other within a second, awake or frozen', async (t) => {
  if (cluster === undefined) return skip(t, 'PostgreSQL is not here');
  const { nodes, login } = cluster;
  const [first, second] = nodes;
  for (const isFrozen of [false, true]) {
    const made = await login.client.call('token.create', {
      body: { label: 'short', ttlSeconds: 600 },
    });
    const asked = { token: made.token, path: '/api/v1/principals/me' };
    assert.equal((await ask(second, login, asked)).status, 200);
    if (isFrozen) second.process.kill('SIGSTOP');
    // Sent while it is frozen: it is the first thing that it reads when it wakes.
    const early = isFrozen ? ask(second, login, asked) : undefined;
    await login.at(first.url).call('token.revoke', { params: { token: made.id } });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (isFrozen) second.process.kill('SIGCONT');
    assert.equal((await early)?.status ?? 401, 401);
    assert.equal((await ask(second, login, asked)).status, 401);
  }
});

test('a TLS session that began on one node is resumed on the other', async (t) => {
  if (cluster === undefined) return skip(t, 'PostgreSQL is not here');
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-session-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [ca, session] = [join(folder, 'ca.pem'), join(folder, 'session')];
  writeFileSync(ca, cluster.login.caPem);
  const [first, second] = cluster.nodes.map(({ url }) => `127.0.0.1:${new URL(url).port}`);
  const speak = (version: string, address: string, ...more: string[]) => {
    const parameters = [
      's_client',
      '-connect',
      address,
      '-CAfile',
      ca,
      version,
      '-ign_eof',
      ...more,
    ];
    const asked = 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    return tryRun(openssl, parameters, asked).stdout.toString('utf8');
  };
  for (const version of ['-tls1_2', '-tls1_3']) {
    assert.match(speak(version, first!, '-sess_out', session), /^New, TLS/m);
    assert.match(speak(version, second!, '-sess_in', session), /^Reused, TLS/m);
  }
});

test('a node that is asked to stop under load loses no request', async (t) => {
  if (cluster === undefined) return skip(t, 'PostgreSQL is not here');
  const { nodes, login } = cluster;
  const second = nodes[1];
  const body = { name: 'stopping/key', algorithm: 'ed25519', purpose: 'sign' } as const;
  await login.client.call('key.create', { body });
  const asked = {
    ...{ method: 'POST', path: `/api/v1/keys/${encodeURIComponent(body.name)}/sign` },
    body: JSON.stringify({ data: 'AAAA' }),
  };
  const failures: string[] = [];
  let answered = 0;
  const callers = Array.from({ length: 12 }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (;;) {
      try {
        const { status } = await ask(second, login, { ...asked, agent });
        if (status === 200) answered++;
        else failures.push(String(status));
      } catch (error) {
        const code = String((error as NodeJS.ErrnoException).code);
        // It listens no more: the next node is asked.
        if (code !== 'ECONNREFUSED') failures.push(code);
        break;
      }
    }
    agent.destroy();
  });
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.equal(await second.stop(), 0);
  await Promise.all(callers);
  assert.deepEqual(failures, []);
  assert.ok(answered > 12, `${answered} answers`);
  assert.equal(await countEntries(login, 'key.sign'), answered);
  const { nodes: left } = await login.client.call('status');
  assert.equal(left.length, 1);
});

async function countEntries({ client }: LoggedIn, action: string): Promise<number> {
  let count = 0;
  let after: string | null = null;
  do {
    const query: { action: string; limit: number; after?: string } = {
      action,
      limit: 100,
      ...(after === null ? {} : { after }),
    };
    const page: { items: readonly unknown[]; next: string | null } = await client.call(
      'audit.list',
      {
        query,
      },
    );
    count += page.items.length;
    after = page.next;
  } while (after !== null);
  return count;
}

interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly body?: string;
  readonly token?: string;
  readonly agent?: Agent;
}

function ask({ url }: RunningService, login: LoggedIn, asked: Asked): Promise<{ status: number }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(asked.path, url),
      {
        method: asked.method ?? 'GET',
        ca: login.caPem,
        ...(asked.agent === undefined ? {} : { agent: asked.agent }),
        headers: {
          authorization: `Bearer ${asked.token ?? login.token}`,
          ...(asked.body === undefined ? {} : { 'content-type': 'application/json' }),
        },
      },
      (response) => {
        response.resume();
        response.on('end', () => resolve({ status: response.statusCode! }));
        response.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end(asked.body);
  });
}
