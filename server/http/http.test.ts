import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteDefinition } from '../../api/route.ts';
import { routes } from '../../api/routes.ts';
import { KeyreeveError } from '../base/errors.ts';
import { lesserToken, startServer } from './http-testing.ts';

const made = { keyId: 'key_x', version: 1, scheme: 'ed25519', signature: 'AAAA' };
const random = { items: ['AAAA'] };

function sample(path: string): string {
  return path.replace(/:\w+/g, '1');
}

test('every route refuses a call without a token, unless it is public', async (context) => {
  const server = await startServer(context, {}, { limits: { visitorBurstRequests: 1000 } });
  for (const [id, route] of Object.entries(routes as Record<string, RouteDefinition>)) {
    const { method } = route;
    const call = { method, path: sample(route.path), ...(method === 'GET' ? {} : { body: {} }) };
    for (const token of [null, 'wrong']) {
      const { status, json, headers } = await server.ask({ ...call, token });
      if (route.authentication === 'none') assert.notEqual(status, 401, id);
      else {
        assert.deepEqual([status, json.code], [401, 'unauthenticated'], id);
        assert.match(headers['www-authenticate'] ?? '', /^Bearer/);
      }
    }
    const { status } = await server.ask(call);
    assert.ok([400, 404].includes(status), `${id}: ${status}`);
  }
});

test('a stranger is refused before the body is looked at', async (context) => {
  const server = await startServer(context);
  const call = { method: 'POST', path: '/api/v1/keys', token: null };
  assert.equal((await server.ask({ ...call, body: '{broken' })).status, 401);
  assert.equal((await server.ask({ ...call, body: 'x'.repeat(3_000_000) })).status, 401);
});

test('a token elsewhere than in the header does not count', async (context) => {
  const server = await startServer(context);
  const path = '/api/v1/access?access_token=good-token';
  assert.equal((await server.ask({ path, token: null })).status, 401);
  const cookie = { cookie: 'token=good-token' };
  assert.equal(
    (await server.ask({ path: '/api/v1/access', token: null, headers: cookie })).status,
    401,
  );
});

test('a call reaches its handler with its input, its caller and its correlation id', async (context) => {
  const calls: Record<string, unknown>[] = [];
  const server = await startServer(context, {
    'key.sign': async (call) => {
      calls.push(call);
      return made;
    },
  });
  const { status, json, headers } = await server.ask({
    method: 'POST',
    path: '/api/v1/keys/registration%2F10001_110011/sign',
    headers: { 'X-Correlation-Id': 'job-7', 'User-Agent': 'tester/1', 'Idempotency-Key': 'x' },
    body: { data: 'AAAA', version: 2 },
  });
  assert.equal(status, 200);
  assert.deepEqual(json, made);
  const [call] = calls as [Record<string, Record<string, unknown>>];
  assert.deepEqual(call.params, { key: 'registration/10001_110011' });
  assert.deepEqual(call.body, { data: 'AAAA', version: 2 });
  assert.deepEqual({ ...call.query }, {});
  assert.equal(call.idempotencyKey, undefined, 'uses take no idempotency key');
  assert.equal(call.caller!.correlationId, 'job-7');
  assert.equal(call.caller!.agent, 'tester/1');
  assert.equal(call.caller!.address, '127.0.0.1');
  assert.equal(headers['x-correlation-id'], 'job-7');
  assert.equal(headers['cache-control'], 'no-store');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.match(String(headers['content-security-policy']), /default-src 'none'/);
});

test('names with encoded slashes and long names are whole, raw slashes are another path', async (context) => {
  const server = await startServer(context, {
    'key.public': async ({ params }: { params: { key: string } }) => ({
      id: params.key,
      name: '',
      purpose: 'sign',
      schemes: [],
      currentVersion: null,
      versions: [],
    }),
  });
  const show = async (reference: string) =>
    server.ask({ path: `/api/v1/public-keys/${reference}`, token: null });
  const long = `${'a/'.repeat(99)}bc`;
  assert.equal((await show(encodeURIComponent(long))).json.id, long);
  assert.equal((await show('a%2Fb%20c')).json.id, 'a/b c');
  assert.equal((await show('a/b')).status, 404);
  assert.equal((await show(encodeURIComponent(`${long}x`))).json.code, 'invalid-request');
  assert.equal((await show('%zz')).json.code, 'invalid-request');
  assert.equal((await show('x'.repeat(1100))).json.code, 'invalid-request');
});

test('defaults of the schema are filled in, of query and body alike', async (context) => {
  const calls: Record<string, unknown>[] = [];
  const server = await startServer(context, {
    'principal.list': async (call) => {
      calls.push(call);
      return { items: [], next: null };
    },
    'random.make': async (call) => {
      calls.push(call);
      return random;
    },
  });
  await server.ask({ path: '/api/v1/principals?limit=7' });
  await server.ask({ method: 'POST', path: '/api/v1/random', body: { length: 3 } });
  assert.deepEqual(calls[0]!.query, { limit: 7 });
  assert.deepEqual(calls[1]!.body, { length: 3, count: 1 });
});

test('an idempotency key reaches commands, and a malformed one is refused', async (context) => {
  const keys: unknown[] = [];
  const server = await startServer(context, {
    'token.revoke': async ({ idempotencyKey }: { idempotencyKey: unknown }) => {
      keys.push(idempotencyKey);
      throw new KeyreeveError('not-found', 'There is no such token.');
    },
  });
  const call = { method: 'DELETE', path: '/api/v1/tokens/x' };
  await server.ask({ ...call, headers: { 'Idempotency-Key': 'first-try' } });
  await server.ask(call);
  const bad = await server.ask({ ...call, headers: { 'Idempotency-Key': 'x'.repeat(256) } });
  assert.deepEqual(keys, ['first-try', undefined]);
  assert.deepEqual([bad.status, bad.json.code], [400, 'invalid-request']);
});

test('visitors of public routes are known by their address alone', async (context) => {
  const visits: unknown[] = [];
  const server = await startServer(context, {
    'audit.checkpoint': async (call: { visitor: object }) => {
      visits.push({ ...call.visitor, hasCaller: 'caller' in call });
      return { checkpoint: 'c', logKey: 'k' };
    },
  });
  const headers = {
    'X-Forwarded-For': '203.0.113.9',
    Forwarded: 'for=203.0.113.9',
    'X-Correlation-Id': 'v',
  };
  const { status } = await server.ask({ path: '/api/v1/audit/checkpoint', headers });
  assert.equal(status, 200);
  assert.deepEqual(visits, [
    { address: '127.0.0.1', agent: '', correlationId: 'v', hasCaller: false },
  ]);
});

test('wrong input is answered with every field that is wrong, and without its values', async (context) => {
  const server = await startServer(context);
  const secret = 'hunter2-hunter2';
  const { status, json, text } = await server.ask({
    method: 'POST',
    path: '/api/v1/keys',
    body: {
      name: `${secret}!`,
      purpose: secret,
      labels: { a: 1 },
      policy: { recovery: secret },
      extra: secret,
    },
  });
  assert.equal(status, 400);
  assert.equal(json.code, 'invalid-request');
  assert.ok(!text.includes(secret));
  const fields = json.fields as { in: string; field: string; problem: string }[];
  assert.deepEqual(fields.map(({ field }) => field).sort(), [
    'algorithm',
    'extra',
    'labels.a',
    'name',
    'policy.recovery',
    'purpose',
  ]);
  assert.ok(fields.every((one) => one.in === 'body'));
  assert.equal(fields.find(({ field }) => field === 'algorithm')?.problem, 'is missing');
  assert.equal(fields.find(({ field }) => field === 'extra')?.problem, 'is not known here');
  assert.match(json.detail as string, /and 3 more/);
});

test('wrong input of other kinds is refused', async (context) => {
  const server = await startServer(context);
  const sign = { method: 'POST', path: '/api/v1/keys/k/sign' };
  for (const [what, call, status, code] of [
    ['no body', sign, 400, 'invalid-request'],
    ['a list', { ...sign, body: [1] }, 400, 'invalid-request'],
    ['null', { ...sign, body: 'null' }, 400, 'invalid-request'],
    ['broken JSON', { ...sign, body: '{"data":' }, 400, 'invalid-request'],
    ['two documents', { ...sign, body: '{}{}' }, 400, 'invalid-request'],
    ['no UTF-8', { ...sign, body: Buffer.from([0x22, 0xff, 0x22]) }, 400, 'invalid-request'],
    [
      'a prototype',
      { ...sign, body: '{"data":"AAAA","__proto__":{"x":1}}' },
      400,
      'invalid-request',
    ],
    ['bad base64', { ...sign, body: { data: 'AAA' } }, 400, 'invalid-request'],
    [
      'unknown query',
      { ...sign, path: `${sign.path}?x=1`, body: { data: 'AAAA' } },
      400,
      'invalid-request',
    ],
    ['query twice', { path: '/api/v1/keys?limit=1&limit=2' }, 400, 'invalid-request'],
    ['query too high', { path: '/api/v1/keys?limit=501' }, 400, 'invalid-request'],
    [
      'a body where none is',
      { method: 'DELETE', path: '/api/v1/tokens/x', body: {} },
      400,
      'invalid-request',
    ],
    [
      'text',
      { ...sign, body: 'x', headers: { 'content-type': 'text/plain' } },
      415,
      'unsupported-media-type',
    ],
    [
      'a form',
      { ...sign, body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      415,
      'unsupported-media-type',
    ],
    [
      'no type',
      { ...sign, body: '{}', headers: { 'content-type': '' } },
      415,
      'unsupported-media-type',
    ],
    [
      'gzip',
      { ...sign, body: '{}', headers: { 'content-encoding': 'gzip' } },
      415,
      'unsupported-media-type',
    ],
    ['unknown path', { path: '/api/v1/nothing' }, 404, 'not-found'],
    ['unknown path with a body', { method: 'POST', path: '/x', body: '{broken' }, 404, 'not-found'],
    ['an empty name', { path: '/api/v1/keys/' }, 400, 'invalid-request'],
    ['a zero byte in a name', { path: '/api/v1/public-keys/a%00' }, 400, 'invalid-request'],
    ['a zero byte in a query', { path: '/api/v1/keys?after=%00' }, 400, 'invalid-request'],
    [
      'an escape in a label',
      {
        method: 'POST',
        path: '/api/v1/tokens',
        body: '{"ttlSeconds":60,"label":"\\u001b[2J"}',
      },
      400,
      'invalid-request',
    ],
    [
      'half a surrogate pair',
      { method: 'POST', path: '/api/v1/tokens', body: '{"ttlSeconds":60,"label":"\\ud800"}' },
      400,
      'invalid-request',
    ],
    ['upper case', { path: '/API/v1/keys' }, 404, 'not-found'],
  ] as const) {
    const answer = await server.ask(call);
    assert.deepEqual([answer.status, answer.json.code], [status, code], what);
    assert.equal(answer.headers['content-type'], 'application/problem+json', what);
  }
});

test('another method is refused with the methods that are possible', async (context) => {
  const server = await startServer(context);
  for (const [method, path, allow] of [
    ['PUT', '/api/v1/keys', 'POST, GET, HEAD'],
    ['DELETE', '/api/v1/keys/a', 'GET, PATCH, HEAD'],
    ['OPTIONS', '/api/v1/login', 'POST'],
    ['PROPFIND', '/api/v1/login', 'POST'],
    ['POST', '/healthz', 'GET, HEAD'],
  ] as const) {
    const { status, json, headers } = await server.ask({ method, path });
    assert.deepEqual([status, json.code], [405, 'method-not-allowed'], `${method} ${path}`);
    assert.deepEqual(headers.allow?.split(', ').sort(), allow.split(', ').sort());
  }
});

test('HEAD is answered as GET, without a body', async (context) => {
  const server = await startServer(context, {
    'audit.checkpoint': async () => ({ checkpoint: 'c', logKey: 'k' }),
  });
  const head = await server.ask({ method: 'HEAD', path: '/api/v1/audit/checkpoint' });
  const get = await server.ask({ path: '/api/v1/audit/checkpoint' });
  assert.deepEqual([head.status, head.text], [200, '']);
  assert.equal(head.headers['content-length'], String(get.text.length));
});

test('bodies up to the limit are taken, of batches more, and a longer one is refused', async (context) => {
  const limits = { bodyBytesMax: 1000, batchBodyBytesMax: 2000 };
  const server = await startServer(context, { 'random.make': async () => random }, { limits });
  const padded = (length: number) => '{"length":3}'.padEnd(length, ' ');
  const ask = (path: string, body: string, headers = {}) =>
    server.ask({ method: 'POST', path, body, headers });
  assert.equal((await ask('/api/v1/random', padded(1000))).status, 200);
  assert.equal((await ask('/api/v1/random', padded(1001))).json.code, 'too-large');
  assert.equal((await ask('/api/v1/keys/k/sign/batch', padded(2000))).status, 400);
  assert.equal((await ask('/api/v1/keys/k/sign/batch', padded(2001))).status, 413);
  const chunked = { 'transfer-encoding': 'chunked' };
  const { status } = await server.ask({
    method: 'POST',
    path: '/api/v1/random',
    body: padded(1001),
    headers: chunked,
  });
  assert.equal(status, 413);
});

test('a caller without a token sends small bodies only', async (context) => {
  const server = await startServer(context, {}, { limits: { visitorBodyBytesMax: 100 } });
  const ask = (length: number) =>
    server.ask({
      method: 'POST',
      path: '/api/v1/login',
      token: null,
      body: '{}'.padEnd(length, ' '),
    });
  assert.equal((await ask(100)).status, 400);
  assert.equal((await ask(101)).status, 413);
});

test('an error of a feature becomes a problem document, in full', async (context) => {
  const server = await startServer(context, {
    'access.show': async () => {
      throw new KeyreeveError('rate-limited', 'Slower, please.', {
        hint: 'Wait.',
        data: { limit: 5, status: 1, type: 'x' },
        retryAfterSeconds: 2.5,
        cause: new Error('the inner reason'),
      });
    },
  });
  const headers = { 'X-Correlation-Id': 'c-1' };
  const answer = await server.ask({ path: '/api/v1/access', headers });
  assert.equal(answer.status, 429);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  assert.equal(answer.headers['retry-after'], '3');
  assert.deepEqual(answer.json, {
    type: '/errors/rate-limited',
    title: 'Too many requests',
    status: 429,
    detail: 'Slower, please.',
    code: 'rate-limited',
    hint: 'Wait.',
    requestId: 'c-1',
    limit: 5,
  });
});

test('an unexpected error gives a request id, and its reason goes to the log alone', async (context) => {
  for (const thrown of [
    new Error('password=hunter2'),
    new KeyreeveError('internal', 'password=hunter2'),
    'password=hunter2',
    undefined,
  ]) {
    const server = await startServer(context, {
      'access.show': async () => {
        throw thrown;
      },
    });
    const { status, json, text } = await server.ask({ path: '/api/v1/access' });
    assert.deepEqual([status, json.code], [500, 'internal']);
    assert.ok(!text.includes('hunter2'));
    const line = server.log.find((one) => one.correlationId === json.requestId && one.level === 50);
    assert.ok(line, 'logged');
    if (thrown instanceof Error) assert.match(JSON.stringify(line), /hunter2/);
  }
});

test('an authenticator that fails in any way lets nobody in', async (context) => {
  for (const thrown of [undefined, null, 'no', new Error('broken')]) {
    let ran = false;
    const server = await startServer(
      context,
      {
        'access.show': async () => {
          ran = true;
          throw new Error('unreachable');
        },
      },
      { authenticate: () => Promise.reject(thrown) },
    );
    const { status, json } = await server.ask({ path: '/api/v1/access' });
    assert.deepEqual([status, json.code, ran], [500, 'internal', false]);
  }
});

test('an answer that is not as its schema says is found', async (context) => {
  const server = await startServer(context, {
    'random.make': async () => ({ items: ['AAAA'], more: true }),
    'audit.checkpoint': async () => ({ checkpoint: 1, logKey: 'k' }),
    'access.show': async () => undefined,
  });
  const body = { length: 3 };
  assert.equal((await server.ask({ method: 'POST', path: '/api/v1/random', body })).status, 500);
  assert.equal((await server.ask({ path: '/api/v1/audit/checkpoint' })).status, 500);
  assert.equal((await server.ask({ path: '/api/v1/access' })).status, 500);
});

test('a route without a handler is refused at start', async (context) => {
  await assert.rejects(
    startServer(context, {}, { handlers: {} as never }),
    /the route \S+ has no handler/,
  );
});

test('a token with fewer rights is a matter of the feature, and of /metrics', async (context) => {
  const server = await startServer(context);
  const { status, json } = await server.ask({ path: '/metrics', token: lesserToken });
  assert.deepEqual([status, json.code], [403, 'forbidden']);
});
