import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer, type TLSSocket } from 'node:tls';
import { type Alert, alertKinds } from '../../api/alerts.ts';
import { makeCa, makeLeaf } from '../../test/doubles/https-service.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { createMail } from './mail.ts';

const alert: Alert = {
  ...{ id: 'ent_bbbbbbbbbbbbbbbbbbbbbbbbbb', time: '2030-01-01T00:00:00.000Z' },
  ...{ kind: 'break-glass', ...alertKinds['break-glass'], action: 'approval.break-glass' },
  ...{ outcome: 'ok', installation: 'ins_a' },
};

/** A mail server over TLS that answers each line as it likes, and the sender that goes to it. */
async function startHostile(
  t: TestContext,
  answer: (line: string, socket: TLSSocket) => string | undefined,
) {
  const ca = makeCa();
  const leaf = makeLeaf(ca);
  const sockets: TLSSocket[] = [];
  const server = createServer({ key: leaf.keyPem, cert: leaf.pem }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    const say = (text: string | undefined) => text !== undefined && socket.write(`${text}\r\n`);
    say('220 here');
    socket.on('data', (piece) => {
      for (const line of String(piece).trim().split('\r\n')) say(answer(line, socket));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const sender = createMail({
    ...{ host: '127.0.0.1', port: (server.address() as AddressInfo).port, isImplicitTls: true },
    ...{ user: 'ada', password: new SecretBytes(Buffer.from('correct horse')), ca: ca.pem },
    ...{ from: 'keyreeve@example.org', to: ['ops@example.org'] },
  });
  return { sender, sockets };
}

for (const method of ['PLAIN', 'LOGIN']) {
  test(`a mail server that repeats the password does not bring it into the reason: ${method}`, async (t) => {
    const { sender } = await startHostile(t, (line) => {
      if (line.startsWith('EHLO')) return `250-here\r\n250 AUTH ${method}`;
      if (line === 'AUTH LOGIN') return '334 VXNlcm5hbWU6';
      if (line === Buffer.from('ada').toString('base64')) return '334 UGFzc3dvcmQ6';
      return `500 5.5.1 Command unrecognized: "${line}"`;
    });
    const sending = sender.send([alert], AbortSignal.timeout(5000));
    await assert.rejects(sending, {
      message: 'the mail server refused the user or the password (500)',
    });
  });
}

test('a mail server that goes on answering for ever is left, and its connection closed', async (t) => {
  let dripping: NodeJS.Timeout | undefined;
  const { sender, sockets } = await startHostile(t, (_line, socket) => {
    dripping ??= setInterval(() => socket.write('250-more\r\n'), 20);
    return undefined;
  });
  t.after(() => clearInterval(dripping));
  const sending = sender.send([alert], AbortSignal.timeout(400));
  await assert.rejects(sending, { message: 'it did not answer in time' });
  await once(sockets[0]!, 'end', { signal: AbortSignal.timeout(1000) });
});
