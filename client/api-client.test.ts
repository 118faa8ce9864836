import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { isKeyreeveError, type KeyreeveError } from '../server/base/errors.ts';
import {
  type HttpsService,
  json,
  makeCa,
  problem,
  startHttpsService,
} from '../test/doubles/https-service.ts';
import { type ApiClient, createClient } from './api-client.ts';
import { attemptsMax } from './retry.ts';

function clientOf(service: HttpsService, waits: number[] = []): ApiClient {
  return createClient({
    url: service.url,
    token: 'secret-token',
    caPem: service.ca.pem,
    timeoutSeconds: 5,
    wait: async (milliseconds) => {
      waits.push(milliseconds);
    },
  });
}

async function failureOf(work: Promise<unknown>): Promise<KeyreeveError> {
  try {
    await work;
  } catch (error) {
    assert.ok(isKeyreeveError(error), String(error));
    return error;
  }
  throw new Error('it did not fail');
}

test('a call sends token, path, query and body, and returns the answer', async (t) => {
  const service = await startHttpsService(t, (_, response) =>
    json(response, { items: [], next: null }),
  );
  const client = clientOf(service);
  const answer = await client.call('key.list', { query: { folder: 'a/b', limit: 5 } });
  assert.deepEqual(answer, { items: [], next: null });
  await client.call('key.sign', { params: { key: 'code/win dows' }, body: { data: 'AA==' } });
  client.close();
  const [list, sign] = service.requests;
  assert.equal(list?.url, '/api/v1/keys?folder=a%2Fb&limit=5');
  assert.equal(list?.headers.authorization, 'Bearer secret-token');
  assert.equal(list?.headers['idempotency-key'], undefined);
  assert.equal(sign?.url, '/api/v1/keys/code%2Fwin%20dows/sign');
  assert.deepEqual(JSON.parse(sign?.body ?? ''), { data: 'AA==' });
});

test('a name made of dots does not climb out of its path', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  const failure = await failureOf(clientOf(service).call('key.show', { params: { key: '..' } }));
  assert.equal(failure.code, 'invalid-request');
  assert.equal(service.requests.length, 0);
});

test('no variable of the environment makes a client trust a stranger', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  t.after(() => {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  });
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  const stranger = createClient({ url: service.url, token: 'secret-token', caPem: makeCa().pem });
  t.after(() => stranger.close());
  const failure = await failureOf(stranger.call('key.show', { params: { key: 'a' } }));
  assert.equal(failure.code, 'tls-untrusted');
  assert.equal(service.requests.length, 0);
});

test('routes without authentication do not get the token', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  await clientOf(service).call('key.public', { params: { key: 'release' } });
  assert.equal(service.requests[0]?.headers.authorization, undefined);
});

test('a problem document becomes an error with its code, hint and data', async (t) => {
  const service = await startHttpsService(t, (_, response) =>
    problem(response, 409, {
      code: 'state-not-allowed',
      title: 'The state',
      detail: 'Version 1 is suspended.',
      hint: 'Make it active.',
      version: 1,
      requestId: 'req_1',
    }),
  );
  const failure = await failureOf(clientOf(service).call('key.show', { params: { key: 'a' } }));
  assert.equal(failure.code, 'state-not-allowed');
  assert.equal(failure.message, 'Version 1 is suspended.');
  assert.equal(failure.hint, 'Make it active.');
  assert.deepEqual(failure.data, { version: 1 });
});

test('the inputs that the service did not take are named', async (t) => {
  const service = await startHttpsService(t, (_, response) =>
    problem(response, 400, {
      code: 'invalid-request',
      detail: 'The request is not valid.',
      fields: [{ in: 'body', field: 'name', problem: 'is too long' }, null, 7],
    }),
  );
  const failure = await failureOf(clientOf(service).call('key.show', { params: { key: 'a' } }));
  assert.equal(failure.message, 'The request is not valid: name: is too long');
});

test('a code that the client does not know, or no problem document, is internal', async (t) => {
  const service = await startHttpsService(t, (_, response) =>
    problem(response, 418, { code: 'toString', detail: 'A \u001b[31mteapot.' }),
  );
  const unknown = await failureOf(clientOf(service).call('key.show', { params: { key: 'a' } }));
  assert.equal(unknown.code, 'internal');
  assert.equal(unknown.message, 'A  [31mteapot. (toString)');
  service.answer = (_, response) => response.writeHead(502).end('<html>');
  const page = await failureOf(clientOf(service).call('key.show', { params: { key: 'a' } }));
  assert.equal(page.code, 'internal');
  assert.match(page.message, /502/);
});

test('a command is repeated with the same idempotency key until it is settled', async (t) => {
  const answers = [
    { status: 503, code: 'outcome-unknown' },
    { status: 409, code: 'idempotency-in-progress' },
  ];
  const service = await startHttpsService(t, (_, response) => {
    const next = answers.shift();
    if (next === undefined) return json(response, { id: 'key_1' }, 201);
    problem(response, next.status, { code: next.code }, { 'retry-after': '2' });
  });
  const waits: number[] = [];
  const made = await clientOf(service, waits).call('key.create', {
    body: { name: 'a', algorithm: 'p-256', purpose: 'sign' },
  });
  assert.deepEqual(made, { id: 'key_1' });
  assert.deepEqual(waits, [2000, 2000]);
  const keys = service.requests.map((request) => request.headers['idempotency-key']);
  assert.equal(keys.length, 3);
  assert.match(String(keys[0]), /^[0-9a-f-]{36}$/);
  assert.equal(new Set(keys).size, 1);
});

test('a command whose connection breaks is repeated, a bounded number of times', async (t) => {
  let broken = 1;
  const service = await startHttpsService(t, (_, response) => {
    if (broken-- > 0) response.destroy();
    else json(response, { id: 'key_1' });
  });
  const client = clientOf(service);
  const body = { name: 'a', algorithm: 'p-256', purpose: 'sign' } as const;
  await client.call('key.create', { body, idempotencyKey: 'mine' });
  assert.deepEqual(
    service.requests.map((request) => request.headers['idempotency-key']),
    ['mine', 'mine'],
  );
  service.requests.length = 0;
  broken = Number.POSITIVE_INFINITY;
  const failure = await failureOf(client.call('key.create', { body }));
  assert.equal(failure.code, 'unreachable');
  assert.equal(service.requests.length, attemptsMax);
});

test('a use whose connection breaks is not repeated, since it may be on the record', async (t) => {
  const service = await startHttpsService(t, (_, response) => response.destroy());
  const failure = await failureOf(
    clientOf(service).call('key.sign', { params: { key: 'a' }, body: { data: 'AA==' } }),
  );
  assert.equal(failure.code, 'unreachable');
  assert.equal(service.requests.length, 1);
});

test('a login whose connection breaks is not repeated: its code works once', async (t) => {
  const service = await startHttpsService(t, (_, response) => response.destroy());
  await failureOf(clientOf(service).call('login', { body: { code: 'x' } }));
  assert.equal(service.requests.length, 1);
  assert.equal(service.requests[0]?.headers['idempotency-key'], undefined);
});

test('an overloaded service is asked again only where it says when', async (t) => {
  const service = await startHttpsService(t, (_, response) =>
    problem(response, 503, { code: 'overloaded' }),
  );
  const use = { params: { key: 'a' }, body: { data: 'AA==' } };
  await failureOf(clientOf(service).call('key.sign', use));
  assert.equal(service.requests.length, 1);
  service.answer = (_, response) =>
    problem(response, 503, { code: 'overloaded' }, { 'retry-after': '1' });
  await failureOf(clientOf(service).call('key.sign', use));
  assert.equal(service.requests.length, 1 + attemptsMax);
  service.answer = (_, response) =>
    problem(response, 503, { code: 'overloaded' }, { 'retry-after': '3600' });
  await failureOf(clientOf(service).call('key.sign', use));
  assert.equal(service.requests.length, 2 + attemptsMax);
});

test('another refusal is not repeated', async (t) => {
  const service = await startHttpsService(t, (_, response) =>
    problem(response, 403, { code: 'forbidden' }, { 'retry-after': '1' }),
  );
  await failureOf(clientOf(service).call('key.rotate', { params: { key: 'a' }, body: {} }));
  assert.equal(service.requests.length, 1);
});

test('a service whose CA is another one gets no byte of the request', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  const other = makeCa();
  const client = createClient({ url: service.url, token: 'x', caPem: other.pem });
  const failure = await failureOf(client.call('key.list'));
  assert.equal(failure.code, 'tls-untrusted');
  assert.equal(service.requests.length, 0);
});

test('a certificate for another name is refused', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, {}), {
    names: 'DNS:elsewhere.example',
  });
  const failure = await failureOf(clientOf(service).call('key.list'));
  assert.equal(failure.code, 'tls-untrusted');
  assert.match(failure.message, /another name/);
});

test('a service that does not run is reported at once, with what to do', async () => {
  const client = createClient({ url: 'https://127.0.0.1:1' });
  const failure = await failureOf(client.call('key.list'));
  assert.equal(failure.code, 'unreachable');
  assert.equal(
    failure.hint,
    'Is the service running? npm start. Or elsewhere? --url https://host:port',
  );
});

test('a service that keeps silent is given up', async (t) => {
  const service = await startHttpsService(t, () => undefined);
  const client = createClient({ url: service.url, caPem: service.ca.pem, timeoutSeconds: 0.2 });
  const use = { params: { key: 'a' }, body: { data: 'AA==' } };
  const failure = await failureOf(client.call('key.sign', use));
  assert.equal(failure.code, 'unreachable');
  assert.match(failure.message, /no answer in time/);
});

test('a stream comes in pieces, and a cut one throws', async (t) => {
  let cut = false;
  const service = await startHttpsService(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/x-tar' });
    response.write('abc');
    if (cut) setTimeout(() => response.destroy(), 50);
    else response.end('def');
  });
  const client = clientOf(service);
  const read = async () => {
    const pieces: Buffer[] = [];
    for await (const piece of await client.stream('audit.export', { body: {} })) pieces.push(piece);
    return Buffer.concat(pieces).toString();
  };
  assert.equal(await read(), 'abcdef');
  cut = true;
  assert.equal((await failureOf(read())).code, 'unreachable');
});

test('a stream that is not what the service names is refused', async (t) => {
  let digest = createHash('sha256').update('abc').digest('base64');
  const service = await startHttpsService(t, (_, response) => {
    response.writeHead(200, { 'repr-digest': `sha-256=:${digest}:` });
    response.end('abc');
  });
  const read = async () => {
    for await (const piece of await clientOf(service).stream('backup.create', { body: {} })) {
      assert.equal(piece.toString(), 'abc');
    }
  };
  await read();
  digest = createHash('sha256').update('abd').digest('base64');
  assert.equal((await failureOf(read())).code, 'unreachable');
});

test('a refused stream throws the problem', async (t) => {
  const service = await startHttpsService(t, (_, response) =>
    problem(response, 403, { code: 'forbidden', detail: 'No.' }),
  );
  const failure = await failureOf(clientOf(service).stream('backup.create', { body: {} }));
  assert.equal(failure.code, 'forbidden');
});

test('only https is taken, since tokens never travel in clear', () => {
  for (const url of ['http://127.0.0.1:8443', 'ftp://x', 'nonsense', 'https://user:word@host']) {
    assert.throws(
      () => createClient({ url }),
      (error) => isKeyreeveError(error, 'invalid-request'),
      url,
    );
  }
});
