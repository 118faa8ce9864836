import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { EntryDraft } from '../../api/entry.ts';
import type { ErrorCode } from '../../api/error-codes.ts';
import { keyAdoptBody, keyImportBody } from '../../api/routes/keys.ts';
import { startSoftHsm } from '../../test/softhsm.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { createDueRotations } from '../keys/keys.ts';
import { openReviews } from './review.fixture.ts';

const daySeconds = 86_400;
const data = Buffer.from('a message').toString('base64');

const refused =
  (code: ErrorCode, hint = /./) =>
  (error: unknown) => {
    assert.ok(isKeyreeveError(error, code), String(error));
    assert.match(error.hint ?? '', hint);
    return true;
  };
const overdue = refused('review-overdue', /^Review it: keyreeve keystore review hsm$/);

/** The entries that are committed from now on. */
function watch(storage: { commit(write: { entries: readonly EntryDraft[] }): Promise<unknown> }) {
  const entries: EntryDraft[] = [];
  const commit = storage.commit.bind(storage);
  Object.assign(storage, {
    commit: async (write: { entries: readonly EntryDraft[] }) => {
      const committed = await commit(write);
      entries.push(...write.entries);
      return committed;
    },
  });
  return entries;
}

async function reviewed(t: TestContext, days = 90) {
  const all = await openReviews(t);
  if (all !== undefined) await all.add('hsm', { reviewEveryDays: days });
  return all;
}

test('keys are made in a keystore for 90 days after its review, and not on day 91', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  const { clock, makeKey } = all;
  await makeKey('h/destroyed-in-time', 'hsm');
  clock.advance(90 * daySeconds);
  assert.equal((await all.show('hsm')).review?.isOverdue, false);
  await makeKey('h/on-the-day', 'hsm');
  await all.call('key.rotate', 'h/on-the-day', {});
  await all.call('key.destroy', 'h/destroyed-in-time', {});
  clock.advance(daySeconds);
  assert.equal((await all.show('hsm')).review?.isOverdue, true);
  await assert.rejects(makeKey('h/late', 'hsm'), overdue);
});

test('to the millisecond the review is in time, and one millisecond later it is overdue', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  all.clock.advance(90 * daySeconds);
  await all.makeKey('h/last', 'hsm');
  all.clock.wall += 1;
  await assert.rejects(all.makeKey('h/late', 'hsm'), overdue);
  const answer = await all.review('hsm', 'two have left');
  assert.equal(answer.review.isOverdue, false);
  await all.makeKey('h/again', 'hsm');
  all.clock.advance(90 * daySeconds);
  await all.makeKey('h/last-again', 'hsm');
  all.clock.wall += 1;
  await assert.rejects(all.makeKey('h/late', 'hsm'), overdue);
});

type All = NonNullable<Awaited<ReturnType<typeof openReviews>>>;

/** Everything that makes a key in the keystore `hsm`. */
function makersOf(all: All) {
  const by = { caller: all.caller(), params: {}, query: {}, idempotencyKey: undefined };
  return {
    authority: (name: string) => all.make(name, { keystore: 'hsm' }),
    takeIn: (name: string) =>
      all.handlers['key.import']({
        ...by,
        body: keyImportBody.parse({
          ...{ name, algorithm: 'aes-256', purpose: 'encrypt', keystore: 'hsm' },
          material: Buffer.alloc(32, 7).toString('base64'),
        }),
      }),
    adopt: (name: string, object: string) =>
      all.handlers['key.adopt']({
        ...by,
        body: keyAdoptBody.parse({ name, purpose: 'sign', keystore: 'hsm', object }),
      }),
  };
}

test('while a review is overdue no key is made, taken in, rotated or destroyed, and all are used', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  const makers = makersOf(all);
  all.hsm.tool(['--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'theirs', '--id', '77']);
  await all.makeKey('h/k', 'hsm');
  await all.makeKey('h/waits', 'hsm', { destroyAfterSeconds: 120 * daySeconds });
  await makers.authority('ca/in-hsm');
  await all.call('key.destroy', 'h/waits', {});
  const soft = await all.makeKey('soft/k', 'wrapped');
  const entries = watch(all.storage);
  all.clock.advance(91 * daySeconds);

  await assert.rejects(all.makeKey('h/new', 'hsm'), overdue);
  await assert.rejects(makers.takeIn('h/taken'), overdue);
  await assert.rejects(makers.adopt('h/theirs', 'theirs'), overdue);
  await assert.rejects(all.call('key.rotate', 'h/k', {}), overdue);
  await assert.rejects(makers.authority('ca/late'), overdue);
  await assert.rejects(all.ca('ca.rekey', 'ca/in-hsm', {}), overdue);
  await assert.rejects(all.call('key.destroy', 'h/k', {}), overdue);
  const outcomes = entries.filter(({ kind }) => kind === 'outcome');
  assert.deepEqual(
    outcomes.map(({ action, outcome }) => [action, outcome]),
    [
      'key.create',
      'key.import',
      'key.adopt',
      'key.rotate',
      'ca.create',
      'ca.rekey',
      'key.destroy',
    ].map((action) => [action, 'review-overdue']),
  );
  assert.deepEqual(
    await all.storage.db.selectFrom('intent').select('kind').execute(),
    [],
    'what was announced is settled',
  );

  await all.call('key.sign', 'h/k', { data });
  const kept = await all.call('key.cancel-destroy', 'h/waits', {});
  assert.equal(kept.destroyAt, null);
  await all.call('key.rotate', soft.name, {});

  await all.review('hsm');
  await all.call('key.rotate', 'h/k', {});
  await makers.adopt('h/theirs', 'theirs');
});

test('a destruction that comes due while the review is overdue waits for the review', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  await all.makeKey('h/k', 'hsm', { destroyAfterSeconds: 86_400 });
  await all.makeKey('soft/k', 'wrapped', { destroyAfterSeconds: 86_400 });
  all.clock.advance(90 * daySeconds);
  await all.call('key.destroy', 'h/k', {});
  await all.call('key.destroy', 'soft/k', {});
  all.clock.advance(2 * daySeconds);
  assert.equal(await all.destruction.run(), 1, 'the other one is not held up');
  assert.equal((await all.call('key.show', 'h/k')).state === 'destroyed', false);
  await all.review('hsm');
  assert.equal(await all.destruction.run(), 1);
  assert.equal((await all.call('key.show', 'h/k')).state, 'destroyed');
});

test('a rotation by the clock waits for the review too, and says so on the record', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  await all.makeKey('h/k', 'hsm', { rotateEverySeconds: 91 * daySeconds });
  const entries = watch(all.storage);
  const rotations = createDueRotations({
    ...{ keys: all.keys, log: { warn: () => undefined }, isClockUnsafe: () => false },
  });
  all.clock.advance(92 * daySeconds);
  assert.equal(await rotations.run(), 0);
  const attempts = entries.filter(
    ({ action, kind }) => action === 'key.rotate' && kind !== 'intent',
  );
  assert.deepEqual(
    attempts.map(({ outcome }) => outcome),
    ['review-overdue'],
  );
  await all.review('hsm');
  all.clock.advance(daySeconds);
  assert.equal(await rotations.run(), 1);
});

test('a group makes no keys while it or one of its members waits for a review', async (t) => {
  const second = startSoftHsm(t);
  const all = await reviewed(t, 30);
  if (all === undefined || second === undefined) return;
  t.after(() => second.remove());
  await all.add('b', {}, second);
  await all.keystore('keystore.group', {
    body: { name: 'both', primary: 'hsm', secondary: 'b', reviewEveryDays: 60 },
  });
  await all.makeKey('g/k', 'both');
  all.clock.advance(31 * daySeconds);
  await assert.rejects(all.makeKey('g/l', 'both'), overdue);
  await all.review('hsm');
  await all.makeKey('g/l', 'both');
  all.clock.advance(30 * daySeconds);
  const ofGroup = refused('review-overdue', /keystore review both$/);
  await assert.rejects(all.makeKey('g/m', 'both'), ofGroup);
  await assert.rejects(all.call('key.rotate', 'g/k', {}), ofGroup);
  await assert.rejects(all.call('key.destroy', 'g/k', {}), ofGroup);
  await all.makeKey('h/k', 'hsm');
  await all.call('key.sign', 'g/k', { data });
  const members = await all.keystore('keystore.access', { params: { keystore: 'b' } });
  assert.equal(members.keys, 2, 'those of the group lie in its member');
});

test('a second name for a token is no way around its review', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  await all.add('again');
  await all.makeKey('h/k', 'again');
  const { keys } = await all.keystore('keystore.access', { params: { keystore: 'hsm' } });
  assert.equal(keys, 1);
  all.clock.advance(91 * daySeconds);
  await assert.rejects(all.makeKey('h/l', 'again'), overdue);
  await all.add('once-more');
  await assert.rejects(all.makeKey('h/l', 'once-more'), overdue);
  await assert.rejects(all.call('key.destroy', 'h/k', {}), overdue);
  await all.review('hsm');
  await all.makeKey('h/l', 'again');
});

test('a review vouches for the list that was looked at, and is on the record', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  await all.makeKey('h/k', 'hsm');
  await all.addPrincipal('root', ['administrator']);
  await all.addPrincipal('mallory', ['key-maker']);
  await all.addPrincipal('reader', ['auditor']);
  const params = { keystore: 'hsm' };
  const seen = await all.keystore('keystore.access', { params });
  assert.deepEqual(
    seen.principals.map(({ name }) => name),
    ['mallory', 'root'],
    'who may only look is not listed',
  );
  const [mallory, root] = seen.principals;
  const may = (who: typeof root, action: string) =>
    who?.rights.find(({ actions }) => actions.includes(action))?.folders;
  assert.deepEqual(may(mallory, 'key.create'), ['', 'h']);
  assert.equal(may(mallory, 'key.destroy'), undefined, 'the key is not its own');
  assert.deepEqual(may(root, 'key.destroy'), ['h']);
  assert.deepEqual(may(root, 'access.apply'), []);

  await all.addPrincipal('eve', ['administrator']);
  const old = { params, body: { digest: seen.digest } };
  await assert.rejects(all.keystore('keystore.review', old), refused('conflict', /Look again/));
  const entries = watch(all.storage);
  all.clock.advance(daySeconds);
  await all.makeKey('h/another', 'hsm');
  const answer = await all.review('hsm', 'eve is new');
  assert.equal(answer.review.lastAt, new Date(all.clock.now()).toISOString());
  assert.equal(answer.access.principals.length, 3);
  const entry = entries.find(({ action }) => action === 'keystore.review');
  const detail = JSON.parse(entry?.detail ?? '{}');
  assert.deepEqual(
    [entry?.resource, entry?.outcome, detail.note, detail.digest, detail.principals],
    ['hsm', 'ok', 'eve is new', answer.access.digest, 3],
  );
});

test('who owns a key of the keystore, and whom the rules name, is listed with that', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  await all.addPrincipal('test', ['key-maker']);
  await all.addPrincipal('other', ['key-maker']);
  await all.makeKey('h/k', 'hsm');
  const key = await all.makeKey('h/special', 'hsm');
  const seen = async (name: string, action: string) => {
    const { principals } = await all.keystore('keystore.access', { params: { keystore: 'hsm' } });
    const rights = principals.find((one) => one.name === name)?.rights ?? [];
    return rights.find(({ actions }) => actions.includes(action))?.folders;
  };
  assert.deepEqual(await seen('test', 'key.destroy'), ['h'], 'it owns the keys');
  assert.equal(await seen('other', 'key.destroy'), undefined);
  assert.equal(await seen('other', 'key.decrypt'), undefined);
  const policies = `permit(principal == Principal::"prn_other", action == Action::"key.decrypt", resource == Key::"${key.id}");
    permit(principal == Principal::"prn_other", action == Action::"key.create", resource in Folder::"empty/yet");`;
  const { db } = all.storage;
  const rules = { version: 1, policies, digest: 'x', applied_at: 0, applied_by: 'system' };
  await all.storage.commit({
    steps: [{ query: db.insertInto('access_rules').values(rules).compile() }],
    entries: [],
    raisesEpoch: true,
  });
  assert.deepEqual(await seen('other', 'key.decrypt'), ['h']);
  assert.deepEqual(await seen('other', 'key.create'), ['empty/yet'], 'where there is no key yet');
  assert.equal(await seen('test', 'key.destroy'), undefined, 'by the rules in force alone');
});

test('a review is demanded more often at any time, and less often only while none is overdue', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  await all.reviewEvery('hsm', 120);
  all.clock.advance(100 * daySeconds);
  const sooner = await all.reviewEvery('hsm', 60);
  assert.equal(sooner.review?.isOverdue, true);
  for (const later of [61, null]) {
    await assert.rejects(all.reviewEvery('hsm', later), overdue);
  }
  await all.reviewEvery('hsm', 30);
  await all.review('hsm');
  await all.reviewEvery('hsm', null);
  all.clock.advance(1000 * daySeconds);
  await all.makeKey('h/k', 'hsm');
  assert.deepEqual((await all.show('hsm')).review?.dueAt, null);
  const again = await all.reviewEvery('hsm', 90);
  assert.equal(again.review?.isOverdue, true, 'it counts from the last review');
  const list = await all.keystore('keystore.list', {});
  assert.equal(list.items.find(({ name }) => name === 'hsm')?.review?.isOverdue, true);
  assert.equal(list.items.find(({ name }) => name === 'wrapped')?.review, null);
});

test('keystores of the configuration are not reviewed, and others may not review', async (t) => {
  const all = await reviewed(t);
  if (all === undefined) return;
  const digest = 'ab'.repeat(32);
  for (const id of ['keystore.access', 'keystore.review', 'keystore.update'] as const) {
    const body = id === 'keystore.update' ? { reviewEveryDays: 1 } : { digest };
    const of = (keystore: string) => all.keystore(id, { params: { keystore }, body });
    await assert.rejects(of('wrapped'), refused('invalid-request'));
    await assert.rejects(of('nowhere'), refused('not-found'));
  }
  const asked: string[] = [];
  all.rights.authorise = (_caller, action) => {
    asked.push(action);
    throw new KeyreeveError('forbidden', 'no');
  };
  const isForbidden = (error: unknown) => isKeyreeveError(error, 'forbidden');
  const params = { keystore: 'hsm' };
  await assert.rejects(all.keystore('keystore.access', { params }), isForbidden);
  await assert.rejects(all.keystore('keystore.review', { params, body: { digest } }), isForbidden);
  await assert.rejects(all.reviewEvery('hsm', 10), isForbidden);
  assert.deepEqual(asked, ['keystore.review', 'keystore.review', 'keystore.update']);
});
