import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import { Freshness } from './freshness.ts';
import { startServer } from './http-testing.ts';

const caller = { principalId: 'prn_a', epoch: 7 } as Caller;

/** What a node knows, and what it was asked. */
function node(known: { epoch?: number; age?: number; isCutOff?: boolean; isRevoked?: boolean }) {
  const asked: string[] = [];
  const state = { epoch: known.epoch ?? 7, age: known.age ?? 0 };
  const freshness = new Freshness({
    storage: {
      get epoch() {
        return state.epoch;
      },
      epochAge: () => state.age,
      async refreshEpoch() {
        asked.push('refresh');
        if (known.isCutOff) throw new KeyreeveError('storage-unavailable', 'It is away.');
        state.age = 0;
        return state.epoch;
      },
    },
    recheck: async () => {
      asked.push('recheck');
      if (known.isRevoked) throw new KeyreeveError('unauthenticated', 'The token was revoked.');
    },
  });
  return { freshness, asked };
}

const settled = (epoch: number, age: number) => ({ epoch, age: () => age });

test('an answer under the newest epoch leaves without any wait', () => {
  const { freshness, asked } = node({ age: 1000 });
  assert.equal(freshness.beforeAct(), undefined);
  assert.equal(freshness.beforeAnswer(caller, undefined), undefined);
  assert.equal(freshness.beforeAnswer(caller, settled(7, 5000)), undefined);
  assert.deepEqual(asked, []);
});

test('a node that has not heard of the epoch for a second asks first', async () => {
  const { freshness, asked } = node({ age: 1001 });
  await freshness.beforeAct();
  assert.deepEqual(asked, ['refresh']);
  const late = node({ age: 1001 });
  await late.freshness.beforeAnswer(caller, undefined);
  assert.deepEqual(late.asked, ['refresh', 'recheck']);
});

test('a node that is cut off answers nobody', async () => {
  const { freshness } = node({ age: Number.POSITIVE_INFINITY, isCutOff: true });
  await assert.rejects(async () => freshness.beforeAct(), { code: 'storage-unavailable' });
  const answer = async () => freshness.beforeAnswer(caller, settled(7, 3000));
  await assert.rejects(answer, { code: 'storage-unavailable' });
});

test('an answer that an epoch overtook is looked at again', async () => {
  const { freshness, asked } = node({ epoch: 8, isRevoked: true });
  await assert.rejects(async () => freshness.beforeAnswer(caller, undefined), {
    code: 'unauthenticated',
  });
  assert.deepEqual(asked, ['recheck']);
});

test('a commit that looked at the rights less than a second ago is enough, a slow one is not', async () => {
  const { freshness, asked } = node({ epoch: 9 });
  assert.equal(freshness.beforeAnswer(caller, settled(8, 1000)), undefined);
  assert.deepEqual(asked, []);
  await freshness.beforeAnswer(caller, settled(8, 1001));
  assert.deepEqual(asked, ['recheck']);
});

/** A server whose caller is locked out, as it learns, when the handler says so. */
function lockingOut() {
  const known = { epoch: 1 };
  const storage = {
    get epoch() {
      return known.epoch;
    },
    epochAge: () => 0,
    refreshEpoch: async () => known.epoch,
  };
  const recheck = async () => {
    throw new KeyreeveError('unauthenticated', 'The token was revoked.');
  };
  return { known, freshness: { storage, recheck } };
}

test('what a refusal says is for those alone who have their rights still', async (context) => {
  const { known, freshness } = lockingOut();
  const fails = async () => {
    known.epoch += 1;
    throw new KeyreeveError('conflict', 'Something that not everybody may know.');
  };
  const server = await startServer(context, { 'key.show': fails }, { freshness });
  const answer = await server.ask({ path: '/api/v1/keys/k' });
  assert.deepEqual([answer.status, answer.json.code], [401, 'unauthenticated']);
});

test('a stream ends when its caller is locked out', async (context) => {
  const { known, freshness } = lockingOut();
  async function* body() {
    yield Buffer.alloc(1000);
    known.epoch += 1;
    yield Buffer.alloc(1000);
  }
  const exporting = async () => ({ contentType: 'text/plain', fileName: 'x', body: body() });
  const server = await startServer(context, { 'audit.export': exporting }, { freshness });
  await assert.rejects(server.ask({ method: 'POST', path: '/api/v1/audit/export', body: {} }));
});
