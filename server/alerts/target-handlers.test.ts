import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeCa, startHttpsService } from '../../test/doubles/https-service.ts';
import { KeyreeveError } from '../base/errors.ts';
import { alertTopic, queueOf } from './queue.ts';
import { openTestAlerts } from './testing.ts';

const secret = `whsec_${randomBytes(32).toString('base64')}`;
const hook = { kind: 'webhook', address: 'https://hooks.example.org/a', secret } as const;
const mail = {
  kind: 'mail' as const,
  address: 'smtps://ada@mail.example.org',
  secret: 'correct horse',
  from: 'keyreeve@example.org',
  to: ['ops@example.org'],
};

test('the secret of a target is sealed, shown nowhere, and not on the record', async (t) => {
  const alerts = await openTestAlerts(t);
  const slackUrl = 'https://hooks.slack.example/services/T0/B0/verySecretWord';
  const views = [
    await alerts.add({ ...hook, name: 'hook' }),
    await alerts.add({ kind: 'slack', secret: slackUrl, name: 'slack' }),
    await alerts.add({ ...mail, name: 'mail' }),
  ];
  assert.deepEqual(
    views.map(({ address, hasSecret }) => [address, hasSecret]),
    [
      ['https://hooks.example.org/a', true],
      ['https://hooks.slack.example/...', true],
      ['smtps://ada@mail.example.org', true],
    ],
  );
  await alerts.update('mail', { secret: 'battery staple' });
  const said = JSON.stringify([...views, await alerts.show('mail')]);
  await alerts.plain.commit({ steps: [], entries: [] });
  const stored = ['keyreeve.db', 'keyreeve.db-wal']
    .map((name) => readFileSync(join(alerts.folder, name), 'latin1'))
    .join('');
  for (const word of [secret.slice(8), 'verySecretWord', 'correct horse', 'battery staple']) {
    assert.ok(!said.includes(word), word);
    assert.ok(!stored.includes(word), word);
  }
  assert.ok(stored.includes('hooks.slack.example'), 'the files were not read');
});

test('a secret is not carried to another address', async (t) => {
  const alerts = await openTestAlerts(t);
  await alerts.add({ ...mail, name: 'mail' });
  const address = 'smtps://ada@elsewhere.example.org';
  await assert.rejects(alerts.update('mail', { address }), {
    code: 'invalid-request',
    message: /needs the secret again/,
  });
  assert.equal((await alerts.show('mail')).address, mail.address);
  const moved = await alerts.update('mail', { address, secret: 'another one' });
  assert.deepEqual([moved.address, moved.revision], [address, 2]);
  await alerts.add({ kind: 'syslog', address: 'tls://a.example.org', name: 'log' });
  const log = await alerts.update('log', {
    address: 'tls://b.example.org:7000',
    severity: 'error',
  });
  assert.deepEqual(
    [log.address, log.severity, log.kinds],
    ['tls://b.example.org:7000', 'error', null],
  );
});

const refusals: readonly (readonly [string, object, RegExp])[] = [
  ['a webhook without a key', { ...hook, secret: undefined }, /needs "secret"/],
  ['a short key', { ...hook, secret: 'whsec_AAAA' }, /has 3 bytes/],
  ['plain HTTP to another host', { ...hook, address: 'http://hooks.example.org/' }, /Plain HTTP/],
  [
    'a host that only looks like this one',
    { ...hook, address: 'http://127.0.0.1.example.org/' },
    /Plain HTTP/,
  ],
  ['a password in an address', { ...hook, address: 'https://a:b@hooks.example.org/' }, /password/],
  ['another scheme', { ...hook, address: 'file:///etc/passwd' }, /not one for this kind/],
  ['an address that is none', { ...hook, address: 'hooks.example.org' }, /not one for this kind/],
  ['Slack by plain HTTP', { kind: 'slack', secret: 'http://hooks.slack.example/x' }, /Plain HTTP/],
  [
    'Slack with an address',
    { kind: 'slack', address: 'https://a.b', secret: 'https://a.b' },
    /takes no "address"/,
  ],
  [
    'syslog without TLS',
    { kind: 'syslog', address: 'tcp://logs.example.org' },
    /not one for this kind/,
  ],
  [
    'syslog with a secret',
    { kind: 'syslog', address: 'tls://a.b', secret: 'x' },
    /takes no "secret"/,
  ],
  ['mail without a recipient', { ...mail, to: undefined }, /needs "to"/],
  ['a user without a password', { ...mail, secret: undefined }, /asks for a password/],
  [
    'a password without a user',
    { ...mail, address: 'smtps://mail.example.org' },
    /asks for a password/,
  ],
  ['a user that is none', { ...mail, address: 'smtps://a%zz@b.c' }, /not one for this kind/],
  ['a CA file without certificates', { ...hook, ca: 'nothing' }, /no certificates/],
  [
    'a damaged CA file',
    { ...hook, ca: makeCa().pem.replace(/\n[^-]{10}/, '\nAAAAAAAAAA') },
    /no certificates/,
  ],
  [
    'a kind below the severity',
    { ...hook, severity: 'error', kinds: ['backup-made'] },
    /never be told/,
  ],
];

test('what makes no target is refused with what is wrong, and names no secret', async (t) => {
  const alerts = await openTestAlerts(t);
  for (const [name, body, message] of refusals) {
    await assert.rejects(alerts.add(body as Parameters<typeof alerts.add>[0]), (error: unknown) => {
      assert.ok(error instanceof KeyreeveError, name);
      assert.equal(error.code, 'invalid-request', name);
      assert.match(error.message, message, name);
      assert.doesNotMatch(`${error.message}${error.hint}`, /whsec_[A-Za-z0-9+/]|correct horse/);
      return true;
    });
  }
  await alerts.add({ ...hook, address: 'http://hooks.example.org/', allowPlainHttp: true });
  await alerts.add({ ...hook, address: 'http://[::1]:80/', name: 'near' });
  await assert.rejects(alerts.add(hook), { code: 'already-exists' });
});

test('a change of who is told is an alert for all who are, and on the record', async (t) => {
  const alerts = await openTestAlerts(t);
  await alerts.add({ ...hook, name: 'first' });
  await alerts.add({ ...hook, name: 'second' });
  await alerts.update('second', { severity: 'error' });
  await alerts.remove('second');
  const told = await alerts.waiting(alertTopic);
  assert.deepEqual(
    told.map(({ action, kind, resource, principalName }) => [
      action,
      kind,
      resource,
      principalName,
    ]),
    ['alert.add', 'alert.update', 'alert.remove'].map((action) => [
      ...[action, 'alerts-changed', 'second', 'ada'],
    ]),
  );
});

test('without the right to, nothing is shown, changed or tried', async (t) => {
  const alerts = await openTestAlerts(t);
  await alerts.add(hook);
  alerts.rights.authorise = (_caller, action) => {
    throw new KeyreeveError('forbidden', `no ${action}`);
  };
  const forbidden = (action: string) => ({ code: 'forbidden', message: `no ${action}` });
  await assert.rejects(alerts.add({ ...hook, name: 'other' }), forbidden('alert.add'));
  await assert.rejects(alerts.update('target', { severity: 'error' }), forbidden('alert.update'));
  await assert.rejects(alerts.remove('target'), forbidden('alert.remove'));
  await assert.rejects(alerts.test('target'), forbidden('alert.test'));
  await assert.rejects(alerts.show('target'), forbidden('alert.show'));
});

test('a test is sent at once, says what came of it, and wakes what waited', async (t) => {
  const alerts = await openTestAlerts(t);
  const service = await startHttpsService(t, (_request, response) => response.writeHead(500).end());
  const target = await alerts.add({ ...hook, address: service.url, ca: service.ca.pem });
  const dispatcher = alerts.dispatcher();
  await alerts.happen('a');
  await dispatcher.round();
  await dispatcher.idle();
  const failed = await alerts.test('target');
  assert.deepEqual([failed.delivered, failed.reason], [false, 'it answered 500']);
  service.answer = (_request, response) => response.end();
  const { delivered, alert, reason } = await alerts.test('target');
  assert.deepEqual([delivered, reason], [true, null]);
  const { body, headers } = service.requests.at(-1)!;
  assert.deepEqual([JSON.parse(body).type, headers['webhook-id']], ['test', alert]);
  // Without waiting for its time.
  await dispatcher.round();
  await dispatcher.idle();
  assert.deepEqual(await alerts.waiting(queueOf(target.id)), []);
});
