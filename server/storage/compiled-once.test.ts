import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compiledOnce } from './compiled-once.ts';
import { metaNames, openAt } from './storage.fixture.ts';
import type { Storage } from './storage.ts';

let folder: string;
let storage: Storage;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keyreeve-compiled-'));
  storage = await openAt({ dataFolder: folder });
});
after(async () => {
  await storage.close();
  rmSync(folder, { recursive: true });
});

test('a statement is compiled once and runs with the values of each call', async () => {
  let compiled = 0;
  const insert = (name: string, value: string) =>
    compiledOnce(storage, 'insert meta', [name, value], () => {
      compiled += 1;
      return storage.db.insertInto('meta').values({ name, value }).compile();
    });
  for (const name of ['one', 'two', 'three']) {
    await storage.commit({ steps: [{ query: insert(name, `${name} value`) }], entries: [] });
  }
  assert.equal(compiled, 1);
  assert.deepEqual(await metaNames(storage), ['one', 'three', 'two']);
});

test('what is kept is the text: not the first values, and not the tree of the statement', () => {
  const first = Buffer.alloc(1000, 'first').toString();
  const later = () =>
    compiledOnce(storage, 'find meta', ['later'], () => assert.fail('compiled a second time'));
  compiledOnce(storage, 'find meta', [first], () =>
    storage.db.selectFrom('meta').select('value').where('name', '=', first).compile(),
  );
  assert.deepEqual(later().parameters, ['later']);
  assert.equal(JSON.stringify(later()).includes('first'), false);
  assert.deepEqual(Object.keys(later().query), ['kind']);
});

test('parameters that come in another order than in the statement are refused', () => {
  assert.throws(
    () =>
      compiledOnce(storage, 'turned round', ['value', 'name'], () =>
        storage.db.insertInto('meta').values({ name: 'name', value: 'value' }).compile(),
      ),
    TypeError,
  );
});
