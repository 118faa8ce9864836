import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Alert, alertKinds } from '../../api/alerts.ts';
import { makeCa } from '../../test/doubles/https-service.ts';
import { startReceiver } from '../../test/doubles/receiver-process.ts';
import { eventually } from '../../test/eventually.ts';
import { skip, tryRun } from '../../test/tools.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { createMail, type MailOptions } from './mail.ts';

const never = new AbortController().signal;
const python = '/usr/bin/python3';

const alert: Alert = {
  ...{ id: 'ent_bbbbbbbbbbbbbbbbbbbbbbbbbb', time: '2030-01-01T00:00:00.000Z' },
  ...{ kind: 'break-glass', ...alertKinds['break-glass'], action: 'approval.break-glass' },
  ...{ outcome: 'ok', installation: 'ins_a' },
  keyName: 'x\r\nBcc: victim@example.org\r\n\r\n.\r\nMAIL FROM:<a@b> ärger',
};

async function startMail(t: TestContext, mode: string) {
  if (tryRun(python, ['-c', 'import aiosmtpd']).status !== 0) {
    skip(t, 'python3-aiosmtpd is not here');
    return undefined;
  }
  const receiver = await startReceiver(t, python, 'mail_receiver.py', [mode]);
  const sender = (options: Partial<MailOptions> = {}) =>
    createMail({
      ...{ host: '127.0.0.1', port: receiver.port, isImplicitTls: mode === 'smtps' },
      ...{ user: 'ada', password: new SecretBytes(Buffer.from('correct horse')) },
      ...{ from: 'keyreeve@example.org', to: ['ops@example.org'], ca: receiver.ca.pem },
      ...options,
    });
  return { ...receiver, sender };
}

for (const mode of ['starttls', 'smtps']) {
  test(`a mail goes by ${mode}, with the id of the alert, and names add no header`, async (t) => {
    const server = await startMail(t, mode);
    if (server === undefined) return;
    const to = ['ops@example.org', 'officer@example.org'];
    assert.equal(await server.sender({ to }).send([alert], never), undefined);
    // What the receiver prints comes on another way than its answer.
    await eventually(() => server.received.length > 0);
    const [mail, ...more] = server.received;
    assert.deepEqual(more, []);
    assert.deepEqual(
      [mail.user, mail.isTls, mail.from, mail.to],
      ['ada', true, 'keyreeve@example.org', to],
    );
    const headers = new Map<string, string>(mail.headers);
    assert.equal(headers.get('Message-ID'), '<ent_bbbbbbbbbbbbbbbbbbbbbbbbbb@ins_a.keyreeve>');
    assert.equal(headers.get('Auto-Submitted'), 'auto-generated');
    assert.equal(
      headers.get('Subject'),
      '[keyreeve critical] Break-glass was used: x Bcc: victim@example.org . MAIL FROM:<a@b> ärger',
    );
    assert.ok(!headers.has('Bcc'));
    assert.equal(headers.get('Date'), 'Tue, 01 Jan 2030 00:00:00 +0000');
    assert.match(mail.text, /^action: +approval\.break-glass$/m);
    assert.doesNotMatch(mail.text, /^Bcc/m);
  });
}

test('without TLS nothing is sent, no password either', async (t) => {
  const server = await startMail(t, 'plain');
  if (server === undefined) return;
  await assert.rejects(server.sender().send([alert], never), /STARTTLS|TLS/i);
  assert.deepEqual(server.received, []);
});

test('a mail server by another CA, or with another password, is a failure', async (t) => {
  const server = await startMail(t, 'starttls');
  if (server === undefined) return;
  for (const ca of [makeCa('Other').pem, undefined]) {
    await assert.rejects(server.sender({ ca }).send([alert], never), /certificate/);
  }
  const password = new SecretBytes(Buffer.from('wrong'));
  await assert.rejects(server.sender({ password }).send([alert], never), (error: Error) => {
    assert.match(error.message, /refused the user or the password \(535\)/);
    assert.doesNotMatch(error.message, /wrong|horse/);
    return true;
  });
  assert.deepEqual(server.received, []);
});

test('a recipient that is refused beside others is said, and the others have it', async (t) => {
  const server = await startMail(t, 'partly');
  if (server === undefined) return;
  const both = server.sender({ to: ['nobody@example.org', 'ops@example.org'] });
  assert.equal(await both.send([alert], never), 'the mail server refused nobody@example.org');
  await eventually(() => server.received.length > 0);
  assert.deepEqual(server.received[0].to, ['ops@example.org']);
  const alone = server.sender({ to: ['nobody@example.org'] });
  await assert.rejects(alone.send([alert], never), /rejected/);
});

test('a mail server that says nothing is given up', async (t) => {
  const server = await startMail(t, 'smtps');
  if (server === undefined) return;
  // Speaks first where the other waits for TLS: both wait.
  const waiting = server.sender({ isImplicitTls: false });
  await assert.rejects(waiting.send([alert], AbortSignal.timeout(300)), /did not answer in time/);
});
