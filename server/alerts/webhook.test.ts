import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type Alert, alertKinds } from '../../api/alerts.ts';
import { makeCa, startHttpsService } from '../../test/doubles/https-service.ts';
import { requireProgram, run } from '../../test/tools.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { createSlack, slackBody } from './slack.ts';
import { TestClock } from './testing.ts';
import { createWebhook } from './webhook.ts';

const key = randomBytes(32);
const secret = `whsec_${key.toString('base64')}`;
const clock = new TestClock();
const never = new AbortController().signal;

const alert: Alert = {
  ...{ id: 'ent_bbbbbbbbbbbbbbbbbbbbbbbbbb', time: '2030-01-01T00:00:00.000Z' },
  ...{ kind: 'key-suspended', ...alertKinds['key-suspended'] },
  ...{
    action: 'key.state',
    outcome: 'ok',
    installation: 'ins_a',
    keyName: 'schlüssel\u2028<!here>',
  },
};

function sender(url: string, ca: string | undefined, text = secret) {
  return createWebhook({
    url: new URL(url),
    ca,
    secret: new SecretBytes(Buffer.from(text)),
    clock,
  });
}

async function startReceiver(t: TestContext) {
  return startHttpsService(t, (_request, response) => response.writeHead(204).end());
}

test('the signature is the one that openssl makes of id, time and body', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const service = await startReceiver(t);
  for (const text of [secret, 'a plain key of 24 bytes or more']) {
    const one = sender(service.url, service.ca.pem, text);
    await one.send([alert], never);
    const { headers, body } = service.requests.at(-1)!;
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    const hex = (text === secret ? key : Buffer.from(text)).toString('hex');
    const words = ['dgst', '-sha256', '-mac', 'HMAC', '-macopt', `hexkey:${hex}`, '-binary'];
    const expected = run('openssl', words, signed).toString('base64');
    assert.equal(headers['webhook-signature'], `v1,${expected}`);
    assert.equal(headers['webhook-timestamp'], String(clock.now() / 1000));
    assert.equal(headers['content-type'], 'application/json');
    assert.deepEqual(JSON.parse(body), {
      ...{ type: 'key-suspended', timestamp: '2030-01-01T00:00:00.000Z', data: alert },
    });
    one.close();
  }
});

test('only 2xx is success, and redirects are not followed', async (t) => {
  const service = await startReceiver(t);
  const one = sender(service.url, service.ca.pem);
  for (const status of [301, 307, 400, 404, 410, 500, 503]) {
    service.answer = (_request, response) =>
      response.writeHead(status, { location: `${service.url}/elsewhere` }).end();
    const reason = new RegExp(`it answered ${status}`);
    await assert.rejects(one.send([alert], never), { name: 'SendFailure', message: reason });
  }
  assert.ok(service.requests.every(({ url }) => url === '/'));
  service.answer = (_request, response) => response.writeHead(429, { 'retry-after': '9999' }).end();
  await assert.rejects(one.send([alert], never), { retryAfterSeconds: 300 });
  one.close();
});

test('a receiver whose certificate is by another CA, or for another name, gets nothing', async (t) => {
  const service = await startReceiver(t);
  const stranger = sender(service.url, makeCa('Other').pem);
  await assert.rejects(stranger.send([alert], never));
  const system = sender(service.url, undefined);
  await assert.rejects(system.send([alert], never));
  const ca = makeCa();
  const other = await startHttpsService(t, () => undefined, { ca, names: 'DNS:elsewhere' });
  const misled = sender(other.url, ca.pem);
  await assert.rejects(misled.send([alert], never), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  assert.deepEqual([...service.requests, ...other.requests], []);
  for (const one of [stranger, system, misled]) one.close();
});

test('an answer without end is cut, and one that does not come is given up', async (t) => {
  const service = await startReceiver(t);
  const one = sender(service.url, service.ca.pem);
  let written = 0;
  service.answer = (_request, response) => {
    response.writeHead(200);
    const piece = Buffer.alloc(64 * 1024);
    const pour = () => {
      written += piece.length;
      if (!response.destroyed && written < 64 * 1024 * 1024) response.write(piece, pour);
    };
    pour();
  };
  await one.send([alert], never);
  assert.ok(written < 32 * 1024 * 1024, `${written} bytes`);
  service.answer = () => undefined;
  const started = performance.now();
  await assert.rejects(one.send([alert], AbortSignal.timeout(200)), /did not answer in time/);
  assert.ok(performance.now() - started < 5000);
  one.close();
});

test('a kept connection that the receiver has closed is opened again at once', async (t) => {
  const service = await startReceiver(t);
  const one = sender(service.url, service.ca.pem);
  await one.send([alert], never);
  let isFirst = true;
  service.answer = (_request, response) => {
    if (isFirst) response.socket?.destroy();
    else response.end();
    isFirst = false;
  };
  await one.send([alert], never);
  assert.equal(service.requests.length, 3);
  one.close();
});

test('plain HTTP reaches a receiver on this host', async (t) => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(String(request.headers['webhook-id']));
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const one = sender(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, undefined);
  await one.send([alert], never);
  assert.deepEqual(seen, [alert.id]);
  one.close();
});

test('Slack gets text in which names call nobody and format nothing', async (t) => {
  const service = await startReceiver(t);
  const url = new SecretBytes(Buffer.from(`${service.url}/services/T0/B0/word`));
  const one = createSlack(url, service.ca.pem);
  await one.send([alert], never);
  const { url: path, body, headers } = service.requests[0]!;
  assert.deepEqual([path, headers['webhook-signature']], ['/services/T0/B0/word', undefined]);
  const parsed = JSON.parse(body);
  assert.deepEqual(parsed, slackBody(alert));
  assert.equal(parsed.mrkdwn, false);
  assert.match(parsed.text, /^\[warning\] A key was suspended: schlüssel &lt;!here&gt;\n/);
  assert.doesNotMatch(parsed.text, /<|>/);
  one.close();
});

test('a receiver that answers with another protocol is a failure, at once', async (t) => {
  const server = createTcpServer((socket) => {
    t.after(() => socket.destroy());
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const one = sender(`http://127.0.0.1:${port}/`, undefined);
  t.after(() => one.close());
  const late = new Promise((resolve) => setTimeout(resolve, 5000, 'nothing').unref());
  const sending = one.send([alert], never).catch(({ message }: Error) => message);
  assert.equal(await Promise.race([sending, late]), 'it answered 101');
});
