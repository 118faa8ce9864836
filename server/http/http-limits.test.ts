import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:https';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { createHttpServer } from './http.ts';
import { goodToken, startServer, type TestServer, testTls } from './http-testing.ts';

const random = { items: ['AAAA'] };
const makeRandom = { method: 'POST', path: '/api/v1/random', body: { length: 3 } };

function gate(): { opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

async function open(server: TestServer): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: server.port, ca: server.tls.caPem });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

/** All that comes until the connection ends. */
async function readAll(socket: TLSSocket): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('latin1');
}

async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; !condition(); round++) {
    if (round > 500) throw new Error('it did not come');
    await delay(10);
  }
}

test('too many requests under way are refused, and room comes back', async (context) => {
  const held = gate();
  const server = await startServer(
    context,
    {
      'random.make': async () => {
        await held.opened;
        return random;
      },
    },
    { limits: { requestsInFlightMax: 2 } },
  );
  const first = [server.ask(makeRandom), server.ask(makeRandom)];
  await until(() => server.http.requestsInFlight === 2);
  const { status, json, headers } = await server.ask(makeRandom);
  assert.deepEqual([status, json.code, headers['retry-after']], [503, 'overloaded', '1']);
  assert.equal((await server.ask({ path: '/healthz', token: null })).status, 200);
  held.open();
  for (const answer of await Promise.all(first)) assert.equal(answer.status, 200);
  await until(() => server.http.requestsInFlight === 0);
  assert.equal((await server.ask(makeRandom)).status, 200);
});

test('bodies under way are bounded together', async (context) => {
  const held = gate();
  const server = await startServer(
    context,
    {
      'random.make': async () => {
        await held.opened;
        return random;
      },
    },
    { limits: { bodyBytesInFlightMax: 20 } },
  );
  const first = server.ask(makeRandom);
  await until(() => server.http.requestsInFlight === 1);
  assert.equal((await server.ask(makeRandom)).json.code, 'overloaded');
  held.open();
  assert.equal((await first).status, 200);
  assert.equal((await server.ask(makeRandom)).status, 200);
});

test('callers that go away in the middle leave nothing behind', async (context) => {
  const held = gate();
  const server = await startServer(context, {
    'random.make': async () => {
      await held.opened;
      return random;
    },
  });
  const head = `POST /api/v1/random HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${goodToken}\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n`;
  const inBody = await open(server);
  inBody.write(`${head}{"len`);
  const pipelined = await open(server);
  pipelined.write(`${head}{"length":3}`.repeat(3));
  await until(() => server.http.requestsInFlight === 4);
  inBody.destroy();
  pipelined.destroy();
  await until(() => server.http.requestsInFlight === 3);
  held.open();
  await until(() => server.http.requestsInFlight === 0);
  assert.equal((await server.ask(makeRandom)).status, 200);
});

test('visitors are limited by address; callers with a token and probes are not', async (context) => {
  const limits = { visitorRequestsPerSecond: 0.001, visitorBurstRequests: 2 };
  const server = await startServer(
    context,
    {
      'audit.checkpoint': async () => ({ checkpoint: 'c', logKey: 'k' }),
      'random.make': async () => random,
    },
    { limits },
  );
  const path = '/api/v1/audit/checkpoint';
  for (const status of [200, 200, 429]) assert.equal((await server.ask({ path })).status, status);
  const limited = await server.ask({ path: '/openapi.json' });
  assert.equal(limited.json.code, 'rate-limited');
  assert.ok(Number(limited.headers['retry-after']) > 1);
  assert.equal((await server.ask({ path: '/readyz', token: null })).status, 200);
  assert.equal((await server.ask(makeRandom)).status, 200);
});

test('slow headers and slow bodies are cut', async (context) => {
  const server = await startServer(
    context,
    {},
    {
      limits: { headersTimeoutSeconds: 0.3, requestTimeoutSeconds: 0.6, timeoutCheckSeconds: 0.1 },
    },
  );
  const slow = await open(server);
  slow.write('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ');
  const text = await readAll(slow);
  assert.match(text, /^HTTP\/1\.1 408 /);
  assert.match(text, /"code":"request-timeout"/);
  const slowBody = await open(server);
  slowBody.write(
    `POST /api/v1/random HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${goodToken}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`,
  );
  assert.match(await readAll(slowBody), /408/);
  await until(() => server.http.requestsInFlight === 0);
});

test('what is no HTTP is answered by a problem document and cut', async (context) => {
  const server = await startServer(context);
  for (const [bytes, pattern] of [
    ['nonsense\r\n\r\n', /^HTTP\/1\.1 400 .*"code":"invalid-request"/s],
    ['GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 /],
    [
      `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      /^HTTP\/1\.1 413 .*"code":"too-large"/s,
    ],
    [
      'POST /api/v1/random HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
    ['GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\rX-C: d\r\n\r\n', /^HTTP\/1\.1 400 /],
  ] as const) {
    const socket = await open(server);
    socket.write(bytes);
    assert.match(await readAll(socket), pattern);
  }
});

test('plain HTTP and old TLS are refused', async (context) => {
  const server = await startServer(context);
  await assert.rejects(fetch(`http://127.0.0.1:${server.port}/healthz`));
  const old = connect({
    host: '127.0.0.1',
    port: server.port,
    ca: server.tls.caPem,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
  });
  await assert.rejects(once(old, 'secureConnect'));
});

test('TLS 1.3 is spoken and sessions are resumed', async (context) => {
  const server = await startServer(context);
  const first = await open(server);
  assert.equal(first.getProtocol(), 'TLSv1.3');
  const ticket = once(first, 'session');
  first.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  const [session] = (await ticket) as [Buffer];
  first.destroy();
  const second = connect({ host: '127.0.0.1', port: server.port, ca: server.tls.caPem, session });
  await once(second, 'secureConnect');
  assert.equal(second.isSessionReused(), true);
  second.destroy();
});

test('new certificates serve new connections, and standing ones go on', async (context) => {
  const server = await startServer(context);
  const kept = await open(server);
  const before = kept.getPeerCertificate().serialNumber;
  const next = await testTls(context);
  server.http.reloadTls({ tls: next.options });
  kept.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  const [data] = (await once(kept, 'data')) as [Buffer];
  assert.match(data.toString(), /^HTTP\/1\.1 200 /);
  kept.destroy();
  const fresh = connect({ host: '127.0.0.1', port: server.port, ca: next.caPem });
  await once(fresh, 'secureConnect');
  assert.notEqual(fresh.getPeerCertificate().serialNumber, before);
  fresh.destroy();
});

test('a stop lets what is under way end, takes no more, and closes idle connections', async (context) => {
  const held = gate();
  const server = await startServer(context, {
    'random.make': async () => {
      await held.opened;
      return random;
    },
  });
  const idle = await open(server);
  idle.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(idle, 'data');
  const idleEnded = once(idle, 'close');
  const underWay = server.ask({ ...makeRandom, agent: new Agent({ keepAlive: true }) });
  await until(() => server.http.requestsInFlight === 1);
  const closing = server.http.close();
  await idleEnded;
  await assert.rejects(server.ask(makeRandom), /ECONNREFUSED|ECONNRESET|socket/);
  held.open();
  assert.equal((await underWay).status, 200);
  await closing;
});

test('a request over an open connection during a stop is done, as the last one of it', async (context) => {
  let made = 0;
  const server = await startServer(context, {
    'random.make': async () => {
      made++;
      return random;
    },
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const asked = { ...makeRandom, agent };
  assert.equal((await server.ask(asked)).headers.connection, 'keep-alive');
  const closing = server.http.close();
  const last = await server.ask(asked);
  assert.deepEqual([last.status, last.headers.connection, made], [200, 'close', 2]);
  await assert.rejects(server.ask(asked), /ECONNREFUSED/);
  assert.equal(made, 2);
  await closing;
});

test('what waits behind another answer during a stop is not begun', async (context) => {
  let made = 0;
  const held = gate();
  const server = await startServer(context, {
    'random.make': async () => {
      made++;
      await held.opened;
      return random;
    },
  });
  const socket = await open(server);
  const request = `POST /api/v1/random HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${goodToken}\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"length":3}`;
  socket.write(request);
  await until(() => server.http.requestsInFlight === 1);
  const closing = server.http.close();
  socket.write(request);
  await delay(50);
  held.open();
  const text = await readAll(socket);
  assert.match(text, /^HTTP\/1\.1 200 .*\r\nConnection: close\r\n/s);
  assert.deepEqual([text.split('HTTP/1.1 ').length - 1, made], [1, 1]);
  await closing;
});

test('a stop cuts what takes longer than its time', async (context) => {
  const held = gate();
  const server = await startServer(
    context,
    {
      'random.make': async () => {
        await held.opened;
        return random;
      },
    },
    { limits: { closeTimeoutSeconds: 0.2 } },
  );
  const stuck = server.ask(makeRandom);
  await until(() => server.http.requestsInFlight === 1);
  await Promise.all([assert.rejects(stuck), server.http.close()]);
  held.open();
});

test('an address that cannot be had is a matter of the configuration', async (context) => {
  const server = await startServer(context);
  const tls = await testTls(context);
  const other = await createHttpServer({ ...server.options, tls: tls.options });
  const taken = other.listen({ address: '127.0.0.1', port: server.port });
  await assert.rejects(taken, /cannot listen on 127\.0\.0\.1, port \d+ \(EADDRINUSE\)/);
  const nowhere = other.listen({ address: '192.0.2.1', port: 0 });
  await assert.rejects(nowhere, { code: 'config-invalid' });
  await other.close();
});
