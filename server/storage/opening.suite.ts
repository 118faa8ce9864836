import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyreeveError } from '../base/errors.ts';
import { migrations } from './migrations/migrations.ts';
import { addMeta, metaNames, openAt, startChild } from './storage.fixture.ts';
import { hasCode, type SuiteEngine } from './storage.suite.ts';

/** Who may open a database, and with which schema. */
export function openingSuite(engine: SuiteEngine): void {
  const name = (rule: string) => `${engine.name}: ${rule}`;

  if (engine.serves === 'one') oneProcess(engine, name);
  else manyProcesses(engine, name);

  test(name('a newer schema is refused, an older one waits for the upgrade'), async () => {
    const place = engine.place();
    const next = { id: migrations.length + 1, name: 'next', up: () => [createExtra] };
    const newer = { migrations: [...migrations, next] };
    await (await openAt(place)).close();
    await assert.rejects(openAt(place, newer), (error) => {
      assert.ok(isKeyreeveError(error, 'schema-older'));
      assert.match(error.hint ?? '', /keyreeve upgrade/);
      return true;
    });
    const upgraded = await openAt(place, { ...newer, migrate: true });
    const rows = await upgraded.db
      .selectFrom('schema_version')
      .select(['version', 'name'])
      .execute();
    assert.equal(rows.find(({ version }) => version === next.id)?.name, 'next');
    await upgraded.close();
    await assert.rejects(openAt(place), hasCode('schema-newer'));
    await assert.rejects(openAt(place, { migrate: true }), hasCode('schema-newer'));
  });

  test(name('a migration that fails changes nothing'), async () => {
    const place = engine.place();
    const id = migrations.length + 1;
    const more = (...statements: string[]) => ({
      migrations: [...migrations, { id, name: 'next', up: () => statements }],
      migrate: true,
    });
    await (await openAt(place)).close();
    await assert.rejects(openAt(place, more(createExtra, 'NONSENSE')));
    await (await openAt(place, more(createExtra))).close();
  });
}

function oneProcess(engine: SuiteEngine, name: (rule: string) => string): void {
  test(name('a second process is refused and told which one is first'), async (t) => {
    const place = engine.place();
    const first = startChild(place, 'hold');
    t.after(() => first.process.kill('SIGKILL'));
    assert.equal(await first.line('ready'), `ready ${first.process.pid}`);
    await assert.rejects(openAt(place), (error) => {
      assert.ok(isKeyreeveError(error, 'already-running'));
      assert.match(error.hint ?? '', new RegExp(`process ${first.process.pid}\\b`));
      return true;
    });
    const second = startChild(place, 'hold');
    assert.match((await second.line('refused')) ?? '', /^refused already-running stop process/);
    first.process.kill('SIGKILL');
    await first.ended;
    const third = await openAt(place);
    await third.close();
  });

  test(name('a second opening in one process is refused too'), async (t) => {
    const place = engine.place();
    const storage = await openAt(place);
    t.after(() => storage.close());
    await assert.rejects(openAt(place), hasCode('already-running'));
  });
}

function manyProcesses(engine: SuiteEngine, name: (rule: string) => string): void {
  test(name('several processes serve one database'), async (t) => {
    const place = engine.place();
    const first = await openAt(place);
    t.after(() => first.close());
    const second = startChild(place, 'hold');
    t.after(() => second.process.kill('SIGKILL'));
    assert.equal(await second.line('ready'), `ready ${second.process.pid}`);
    const third = await openAt(place);
    t.after(() => third.close());
    assert.notEqual(third.nodeId, first.nodeId);
    await first.commit({ steps: [addMeta(first, 'first')], entries: [], raisesEpoch: true });
    await third.commit({ steps: [addMeta(third, 'third')], entries: [] });
    assert.equal(third.epoch, 1);
    assert.deepEqual(await metaNames(first), ['first', 'third']);
  });

  test(
    name('who needs the database alone is refused beside others, and keeps them out'),
    async (t) => {
      const place = engine.place();
      const first = startChild(place, 'hold');
      t.after(() => first.process.kill('SIGKILL'));
      await first.line('ready');
      await assert.rejects(openAt(place, { alone: true }), (error) => {
        assert.ok(isKeyreeveError(error, 'already-running'));
        assert.match(error.hint ?? '', new RegExp(`process ${first.process.pid}\\b`));
        return true;
      });
      first.process.kill('SIGKILL');
      await first.ended;
      const alone = await openAt(place, { alone: true });
      t.after(() => alone.close());
      const second = startChild(place, 'hold');
      assert.match((await second.line('refused')) ?? '', /^refused already-running stop process/);
    },
  );

  test(name('processes that start at once on an empty database make it once'), async () => {
    const place = engine.place();
    const all = await Promise.all(Array.from({ length: 4 }, () => openAt(place)));
    const versions = await all[0]!.db.selectFrom('schema_version').select('version').execute();
    assert.equal(versions.length, migrations.length);
    await Promise.all(all.map((storage) => storage.close()));
  });
}

const createExtra = 'CREATE TABLE "extra" ("x" BIGINT)';
