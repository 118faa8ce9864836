import assert from 'node:assert/strict';
import { test } from 'node:test';
import { json } from '../../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../../test/doubles/logged-in.ts';

const target = {
  ...{ id: 'alt_1', name: 'siem', kind: 'webhook', address: 'https://siem.example.org/' },
  ...{ from: null, to: null, hasCa: false, hasSecret: true, allowsPlainHttp: false },
  ...{ severity: 'notice', kinds: null, waiting: 3, deliveredAt: null },
  ...{ failingSince: '2030-01-01T00:00:00.000Z', reason: 'it said \u001b[2J' },
  ...{ createdAt: '2030-01-01T00:00:00.000Z', revision: 1 },
};

test('plain HTTP is allowed and forbidden again, and what is not named stays as it is', async (t) => {
  const { cli, service } = await loggedIn(t, (_request, response) => json(response, target));
  for (const [words, body] of [
    [['--plain-http'], { allowPlainHttp: true }],
    [['--no-plain-http'], { allowPlainHttp: false }],
    [['--severity', 'error'], { severity: 'error' }],
  ] as const) {
    const { code, error } = await cli.run(['alert', 'update', 'siem', ...words]);
    assert.equal(code, 0, error);
    assert.deepEqual(sentBody(service), body);
  }
});

test('what a receiver said reaches no terminal as it was', async (t) => {
  const { cli } = await loggedIn(t, (_request, response) => json(response, target));
  const { code, out } = await cli.run(['alert', 'show', 'siem']);
  assert.equal(code, 0);
  assert.match(out, /^reason: +it said \?\[2J$/m);
});
