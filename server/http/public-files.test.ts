import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { isKeyreeveError } from '../base/errors.ts';
import type { PublicFile } from '../base/public-file.ts';
import { createPublicFileServer, type PublicFileServer } from './public-files.ts';

const published = Date.UTC(2030, 0, 1, 12, 0, 0);
const nextUpdate = published + 7 * 86_400_000;
const clock = { time: published + 1000, now: () => clock.time, monotonic: () => 0 };
const log = pino({ level: 'silent' });

function crl(bytes: Uint8Array): PublicFile {
  const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
  const contentType = 'application/pkix-crl';
  return { contentType, bytes, tag, modifiedAt: published, expiresAt: nextUpdate };
}

const small = crl(Buffer.from('a small one'));
const files = new Map([
  ['/crl/abc.crl', small],
  ['/crl/large.crl', crl(randomBytes(8 * 1024 * 1024))],
]);

type Limits = NonNullable<Parameters<typeof createPublicFileServer>[0]['limits']>;

async function start(t: TestContext, limits: Limits = {}) {
  const server: PublicFileServer = createPublicFileServer({
    files: (path) => files.get(path),
    clock,
    log,
    limits: { closeTimeoutSeconds: 1, ...limits },
  });
  t.after(() => server.close());
  return { server, ...(await server.listen({ address: '127.0.0.1', port: 0 })) };
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: Ask = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers, agent }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode,
          headers: response.headers,
          body: Buffer.concat(parts),
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

interface Ask {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
}

const agent = new Agent({ keepAlive: false });

/** What comes back for these very bytes, until the other side closes. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

test('a file is served with its validators, its end, and a short life in caches', async (t) => {
  const { url, port } = await start(t);
  assert.equal(url, `http://127.0.0.1:${port}`);
  const { status, headers, body } = await ask(port, '/crl/abc.crl');
  assert.equal(status, 200);
  assert.equal(body.toString(), 'a small one');
  assert.equal(headers['content-type'], 'application/pkix-crl');
  assert.equal(headers['content-length'], '11');
  assert.equal(headers.etag, `"${small.tag}"`);
  assert.equal(headers['last-modified'], 'Tue, 01 Jan 2030 12:00:00 GMT');
  assert.equal(headers.expires, 'Tue, 08 Jan 2030 12:00:00 GMT');
  assert.equal(headers['cache-control'], 'public, max-age=300');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  const head = await ask(port, '/crl/abc.crl', { method: 'HEAD' });
  assert.deepEqual({ ...head.headers, date: '' }, { ...headers, date: '' });
  assert.equal(head.body.length, 0);
});

test('what is about to end is kept by no cache beyond that', async (t) => {
  const { port } = await start(t);
  const before = clock.time;
  try {
    clock.time = nextUpdate - 10_500;
    const soon = await ask(port, '/crl/abc.crl');
    assert.equal(soon.headers['cache-control'], 'public, max-age=10');
    clock.time = nextUpdate + 1;
    const late = await ask(port, '/crl/abc.crl');
    assert.equal(late.headers['cache-control'], 'public, max-age=0');
  } finally {
    clock.time = before;
  }
});

test('who has it already gets 304: the tag decides, the time where there is no tag', async (t) => {
  const { port } = await start(t);
  const asked = async (headers: OutgoingHttpHeaders) =>
    (await ask(port, '/crl/abc.crl', { headers })).status;
  const since = 'Tue, 01 Jan 2030 12:00:00 GMT';
  assert.equal(await asked({ 'If-None-Match': `"${small.tag}"` }), 304);
  assert.equal(await asked({ 'If-None-Match': `"x", W/"${small.tag}"` }), 304);
  assert.equal(await asked({ 'If-None-Match': '*' }), 304);
  assert.equal(await asked({ 'If-None-Match': '"x"', 'If-Modified-Since': since }), 200);
  assert.equal(await asked({ 'If-Modified-Since': since }), 304);
  assert.equal(await asked({ 'If-Modified-Since': 'Tue, 01 Jan 2030 11:59:59 GMT' }), 200);
  for (const noDate of ['yesterday', '99999', '2031-01-01', '']) {
    assert.equal(await asked({ 'If-Modified-Since': noDate }), 200, noDate);
  }
  const known = await ask(port, '/crl/abc.crl', { headers: { 'If-None-Match': '*' } });
  assert.equal(known.body.length, 0);
  assert.equal(known.headers.etag, `"${small.tag}"`);
});

test('a proxy may name the whole address; anything beside the known paths is 404', async (t) => {
  const { port } = await start(t);
  assert.equal((await ask(port, 'http://pki.example.org/crl/abc.crl')).status, 200);
  for (const path of [
    ...['/', '/crl', '/crl/', '/crl/abc', '/crl/abc.crl/', '//crl/abc.crl', '/crl/../crl/abc.crl'],
    ...['/crl/abc.crl?x=1', '/CRL/abc.crl', '/crl/%61bc.crl', '/api/v1/status', '/healthz'],
    ...['/metrics', '/crl/__proto__'],
  ]) {
    const { status, headers, body } = await ask(port, path);
    assert.equal(status, 404, path);
    assert.equal(body.length, 0, path);
    assert.deepEqual(Object.keys(headers).sort(), ['connection', 'content-length', 'date']);
  }
});

test('other methods and requests with a body are refused', async (t) => {
  const { port } = await start(t);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']) {
    const { status, headers } = await ask(port, '/crl/abc.crl', { method });
    assert.equal(status, 405, method);
    assert.equal(headers.allow, 'GET, HEAD');
  }
  const length = { 'Content-Length': 1 };
  assert.equal((await ask(port, '/crl/abc.crl', { headers: length, body: 'x' })).status, 413);
  assert.equal((await ask(port, '/crl/abc.crl', { method: 'POST', body: 'x' })).status, 413);
  const headers = { 'Transfer-Encoding': 'chunked' };
  assert.equal((await ask(port, '/crl/abc.crl', { headers, body: 'x' })).status, 413);
  const start11 = 'GET /crl/abc.crl HTTP/1.1\r\nHost: x\r\n';
  assert.match(await raw(port, `${start11}Expect: 100-continue\r\n\r\n`), /^HTTP\/1\.1 417 /);
  assert.equal(await raw(port, 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'), '');
});

test('what is no HTTP is answered by 400 and nothing else', async (t) => {
  const { port } = await start(t);
  const empty = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
  const start11 = 'GET /crl/abc.crl HTTP/1.1\r\nHost: x\r\n';
  assert.equal(await raw(port, 'nonsense\r\n\r\n'), empty);
  assert.equal(await raw(port, '\x16\x03\x01\x02\x00\x01'), empty);
  assert.equal(await raw(port, `${start11}X: ${'x'.repeat(5000)}\r\n\r\n`), empty);
  assert.match(await raw(port, 'GET /crl/abc.crl HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.match(await raw(port, 'GET /crl/abc.crl HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /);
});

test('a large file arrives whole, also beside a caller who takes nothing', async (t) => {
  const { port } = await start(t);
  const idle = connect(port, '127.0.0.1');
  t.after(() => idle.destroy());
  idle.pause();
  idle.write('GET /crl/large.crl HTTP/1.1\r\nHost: x\r\n\r\n');
  const answers = await Promise.all(Array.from({ length: 4 }, () => ask(port, '/crl/large.crl')));
  for (const { body } of answers) assert.ok(body.equals(files.get('/crl/large.crl')!.bytes));
});

test('who is slow loses the connection, and so does who comes beyond the limit', async (t) => {
  const limits = { requestTimeoutSeconds: 0.2, timeoutCheckSeconds: 0.05 } as never;
  const slow = await start(t, limits);
  assert.match(await raw(slow.port, 'GET /crl/abc.crl HTTP/1.1\r\nHo'), /^HTTP\/1\.1 400 |^$/);
  const few = await start(t, { connectionsMax: 1 } as never);
  const first = connect(few.port, '127.0.0.1');
  t.after(() => first.destroy());
  await new Promise((resolve) => first.once('connect', resolve));
  await assert.rejects(ask(few.port, '/crl/abc.crl'));
  const unread = await start(t, { answerTimeoutSeconds: 0.2 } as never);
  const idle = connect(unread.port, '127.0.0.1');
  idle.pause();
  idle.write('GET /crl/large.crl HTTP/1.1\r\nHost: x\r\n\r\n');
  await new Promise((resolve) => setTimeout(resolve, 500));
  let received = 0;
  idle.on('data', (bytes) => {
    received += bytes.length;
  });
  idle.on('error', () => undefined);
  await new Promise((resolve) => {
    idle.once('close', resolve);
    idle.resume();
  });
  assert.ok(received < files.get('/crl/large.crl')!.bytes.length);
});

test('a port that is taken stops the start and names its setting', async (t) => {
  const { port } = await start(t);
  const second = createPublicFileServer({ files: () => undefined, clock, log });
  await assert.rejects(second.listen({ address: '127.0.0.1', port }), (error) => {
    assert.ok(isKeyreeveError(error, 'config-invalid'));
    assert.match(error.hint!, /KEYREEVE_HTTP_PORT/);
    return true;
  });
});
