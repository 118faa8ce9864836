import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { actions } from '../../api/actions.ts';
import { alertKindNames, alertKinds, alertRules, severities } from '../../api/alerts.ts';
import { events } from '../../api/events.ts';
import { alertOf } from './alert-entries.ts';
import { draftEntry, suspended, TestClock } from './testing.ts';

const clock = new TestClock();
const known: readonly string[] = [...actions, ...events];
/** Kinds that no single entry is: they are made by counting, or by hand. */
const withoutRule = ['refused-repeatedly', 'test'];

test('every rule of alerts names an action or event that there is, and a kind', () => {
  for (const { action, kind } of alertRules) {
    assert.ok(known.includes(action), action);
    assert.ok(alertKindNames.includes(kind), kind);
  }
});

test('every kind of alert comes of some rule, has a severity, and fits a syslog MSGID', () => {
  for (const kind of alertKindNames) {
    const hasRule = alertRules.some((rule) => rule.kind === kind);
    assert.equal(hasRule, !withoutRule.includes(kind), kind);
    assert.ok(severities.includes(alertKinds[kind].severity));
    assert.match(kind, /^[!-~]{1,32}$/);
  }
});

test('every event that the sources write is in the closed set', () => {
  const server = join(import.meta.dirname, '..');
  const files = readdirSync(server, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !/\.(test|fixture|suite|child)\.ts$|testing\.ts$/.test(name),
  );
  const found = new Set<string>();
  for (const file of files) {
    const source = readFileSync(join(server, file), 'utf8');
    for (const [, name] of source.matchAll(
      /(?:serviceEntry|recordEvent)\(\s*(?:[\w.#]+,\s*)?'([a-z-]+(?:\.[a-z-]+)?)'/g,
    )) {
      found.add(name!);
    }
  }
  assert.ok(found.size > 10, 'the sources were not read');
  assert.deepEqual(
    [...found].filter((name) => !known.includes(name)),
    [],
  );
});

test('what was done is told by its kind, what it is about, and who did it', () => {
  const entry = suspended(clock, 'release');
  const alert = alertOf({ ...entry, correlationId: 'req_1', agent: 'x', credentialId: 'tok_1' });
  assert.deepEqual(alert, {
    ...{ id: entry.id, time: entry.time, kind: 'key-suspended', severity: 'warning' },
    ...{ title: 'A key was suspended', action: 'key.state', outcome: 'ok' },
    ...{ principalId: 'prn_test', principalName: 'ada', keyName: 'release', keyVersion: '1' },
    correlationId: 'req_1',
  });
});

test('the same action is another kind, or none, by what became of it', () => {
  const to = (state: string) => draftEntry(clock, { detail: JSON.stringify({ to: state }) });
  assert.equal(alertOf(to('compromised'))?.kind, 'key-compromised');
  assert.equal(alertOf(to('active')), undefined);
  assert.equal(alertOf({ ...to('compromised'), outcome: 'conflict' }), undefined);
  assert.equal(alertOf({ ...to('compromised'), kind: 'intent' }), undefined);
  assert.equal(alertOf({ ...to('compromised'), detail: 'no JSON' }), undefined);
  const backup = draftEntry(clock, { action: 'backup.create' });
  assert.equal(alertOf(backup)?.kind, 'backup-made');
  assert.equal(alertOf({ ...backup, outcome: 'storage-full' })?.kind, 'backup-failed');
  assert.equal(alertOf({ ...backup, outcome: 'forbidden' }), undefined);
});

test('a token for oneself is no alert, one for another is', () => {
  const made = (principal: string) =>
    alertOf(draftEntry(clock, { action: 'token.create', detail: JSON.stringify({ principal }) }));
  assert.equal(made('prn_test'), undefined);
  assert.equal(made('prn_other')?.kind, 'token-for-another');
});

test('a rotation that fails by itself is told once, however often it is tried again', () => {
  const failed = (detail: object) =>
    alertOf(
      draftEntry(clock, {
        ...{ kind: 'event', action: 'key.rotate', outcome: 'review-overdue' },
        detail: JSON.stringify(detail),
      }),
    );
  assert.equal(failed({ scheduled: true })?.kind, 'rotation-failed');
  assert.equal(failed({ scheduled: true, repeated: true }), undefined);
});

test('no action or event stands twice where one kind would hide the other', () => {
  assert.equal(new Set(events).size, events.length);
  const plain = alertRules.filter(({ when }) => when === undefined);
  const asked = plain.map(({ action, outcome }) => `${action} ${outcome}`);
  assert.equal(new Set(asked).size, asked.length);
});
