import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../../../test/eventually.ts';
import { systemClock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { Failover, KeyMissingError, type MemberRole, type MemberSwitch } from './failover.ts';

const away = () => new KeyreeveError('keystore-unavailable', 'The token is away.');
const refused = (code: string) => ({ code });

function pair() {
  const switches: MemberSwitch[] = [];
  const ready = { primary: true, secondary: true };
  const progress = { primary: 0, secondary: 0 };
  const starting = { primary: false, secondary: false };
  const member = (role: MemberRole) => ({
    name: role === 'primary' ? 'a' : 'b',
    progress: () => progress[role],
    isStarting: () => starting[role],
    health: async () => ({ ready: ready[role], reason: ready[role] ? undefined : 'gone' }),
  });
  const failover = new Failover({
    ...{ group: 'both', deadlineSeconds: 0.3, clock: systemClock },
    members: { primary: member('primary'), secondary: member('secondary') },
    onSwitch: (event) => switches.push(event),
  });
  return { failover, switches, ready, progress, starting };
}

test('work goes to the primary, and to the secondary where that fails', async (t) => {
  const { failover, switches, ready } = pair();
  t.after(() => failover.stop());
  assert.equal(await failover.run(async (role) => role), 'primary');
  ready.primary = false;
  const done = await failover.run(async (role) => {
    if (role === 'primary') throw away();
    return role;
  });
  assert.equal(done, 'secondary');
  assert.deepEqual(switches, [
    { to: 'secondary', from: 'a', member: 'b', reason: 'The token is away.' },
  ]);
  assert.equal(failover.counts.failovers, 1);
  // Nobody asks the primary now.
  assert.equal(await failover.run(async (role) => role), 'secondary');
  await delay(700);
  assert.equal(failover.active, 'secondary', 'it is still away');
  ready.primary = true;
  await eventually(() => failover.active === 'primary');
  assert.equal(switches.at(-1)?.to, 'primary');
});

test('a member that answers nothing is left, and what it says later is not heard', async (t) => {
  const { failover } = pair();
  t.after(() => failover.stop());
  const late = Promise.withResolvers<string>();
  const start = performance.now();
  const answers = await Promise.all(
    [1, 2, 3].map(() =>
      failover.run(async (role) => (role === 'primary' ? late.promise : 'from the secondary')),
    ),
  );
  assert.deepEqual(answers, Array(3).fill('from the secondary'));
  assert.ok(performance.now() - start < 1500);
  late.resolve('too late');
});

test('a member that is busy is not one that is away', async (t) => {
  const { failover, progress } = pair();
  t.after(() => failover.stop());
  const busy = setInterval(() => progress.primary++, 50);
  t.after(() => clearInterval(busy));
  const answer = await failover.run(async (role) => {
    await delay(900);
    return role;
  });
  assert.equal(answer, 'primary');
});

test('a member that is started for the first time is waited for', async (t) => {
  const { failover, starting, switches } = pair();
  t.after(() => failover.stop());
  starting.primary = true;
  const answer = await failover.run(async (role) => {
    await delay(900);
    return role;
  });
  assert.deepEqual([answer, switches.length], ['primary', 0]);
});

test('what is wrong with the request is not asked twice', async (t) => {
  const { failover, switches } = pair();
  t.after(() => failover.stop());
  let asked = 0;
  const failing = failover.run(async () => {
    asked++;
    throw new KeyreeveError('capability-missing', 'It cannot.');
  });
  await assert.rejects(failing, refused('capability-missing'));
  assert.deepEqual([asked, switches.length], [1, 0]);
});

test('a key that is in one member alone is used there, and changes no sides', async (t) => {
  const { failover, switches } = pair();
  t.after(() => failover.stop());
  const missing = (keystore: string) => new KeyMissingError(keystore, undefined);
  const use = (has: MemberRole) =>
    failover.run(async (role) => {
      if (role !== has) throw missing(role);
      return role;
    });
  assert.equal(await use('secondary'), 'secondary');
  assert.equal(await use('primary'), 'primary');
  assert.equal(switches.length, 0);
});

test('where neither answers, callers are told to try again', async (t) => {
  const { failover, ready } = pair();
  t.after(() => failover.stop());
  ready.primary = false;
  ready.secondary = false;
  const failing = failover.run(async () => {
    throw away();
  });
  await assert.rejects(failing, (error: KeyreeveError) => {
    assert.equal(error.code, 'keystore-unavailable');
    assert.match(error.message, /Neither of its members/);
    assert.equal(error.retryAfterSeconds, 1);
    return true;
  });
  // The one that is back does the work.
  const work = failover.run(async (role) => {
    if (role === 'primary') throw away();
    return role;
  });
  assert.equal(await work, 'secondary');
});
