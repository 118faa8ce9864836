import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { loadConfig } from '../../server/config/config.ts';
import { type PostgresPair, startPostgresPair } from '../../test/postgres-pair.ts';
import { clusterFile, environmentOf, fillTemplate } from '../../test/template.ts';
import { tryRun } from '../../test/tools.ts';
import { makeTree } from '../../tools/testing/tree.ts';

const scripts = ['promote.sh', 'make-standby.sh', 'synchronous.sh'] as const;

async function pairOf(t: TestContext): Promise<PostgresPair | undefined> {
  const pair = await startPostgresPair(t);
  if (pair !== undefined) t.after(() => pair.remove());
  return pair;
}

test('the scripts are programs that a plain shell understands', () => {
  for (const name of scripts) {
    const path = clusterFile(`postgresql/${name}`);
    assert.match(readFileSync(path, 'utf8'), /^#!\/bin\/sh\n[\s\S]*\nset -eu\n/);
    assert.equal(tryRun('sh', ['-n', path]).status, 0, name);
    assert.equal(tryRun('test', ['-x', path]).status, 0, name);
  }
});

test('the environment of a node is one that the service takes, both servers in it', (t) => {
  const settings = environmentOf(
    fillTemplate('node.environment', {
      PASSWORD: 'secret',
      DATABASE_1: 'db1.example.org:5432',
      DATABASE_2: 'db2.example.org:5432',
      DATABASE_CA: '/etc/keyreeve/database-ca.pem',
      LISTEN: '0.0.0.0',
      NAME: 'keys.example.org',
      PKI_NAME: 'pki.example.org',
    }),
  );
  const config = loadConfig({ ...settings, KEYREEVE_DATA: makeTree(t, {}) });
  assert.match(config.databaseUrl!.reveal().toString(), /@db1\.example\.org:5432,db2\.example/);
  assert.deepEqual(config.tlsNames, ['keys.example.org']);
});

test('a placeholder that nobody fills in, and a value that nobody uses, are found', () => {
  assert.throws(() => fillTemplate('postgresql/pg_hba.conf', { NODES: '::1/128' }), /@SERVERS@/);
  const given = { NODES: '::1/128', SERVERS: '::1/128', OTHERS: '::1/128' };
  assert.throws(() => fillTemplate('postgresql/pg_hba.conf', given), /has no @OTHERS@/);
});

test('a standby is promoted only where the old primary is fenced, and the old one follows it', async (t) => {
  const pair = await pairOf(t);
  if (pair === undefined) return;
  const replication = 'SELECT application_name, sync_state FROM pg_stat_replication';
  assert.equal(await pair.sql('db1', replication), 'db2|quorum');
  await pair.sql('db1', 'CREATE TABLE kept AS SELECT generate_series(1, 100) AS n');

  await assert.rejects(pair.promote('false'), /could not be fenced: nothing was promoted/);
  await assert.rejects(pair.promote('true'), /still answers at localhost:.*nothing was promoted/);
  assert.equal(await pair.sql('db2', 'SELECT pg_is_in_recovery()'), 't');

  await pair.stop('db1', 'immediate');
  await pair.promote();
  assert.equal(await pair.sql('db2', 'SELECT count(*) FROM kept'), '100');
  // Alone: nothing waits for a standby that is not there.
  await pair.sql('db2', 'INSERT INTO kept VALUES (101)');
  await assert.rejects(pair.synchronous('on'), /no standby follows this primary/);
  await pair.rejoin();
  assert.equal(await pair.sql('db2', replication), 'db1|quorum');
  assert.equal(await pair.sql('db1', 'SELECT count(*) FROM kept'), '101');
  // By going back to where the lines parted, not by a copy.
  assert.deepEqual(pair.copies(), []);
});

test('a commit waits for a standby that is lost, until the operator decides to do without', async (t) => {
  const pair = await pairOf(t);
  if (pair === undefined) return;
  await pair.sql('db1', 'CREATE TABLE kept (n int)');
  await pair.stop('db2', 'fast');
  let isDone = false;
  const waiting = pair.sql('db1', 'INSERT INTO kept VALUES (1)').then(() => {
    isDone = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.equal(isDone, false);
  await pair.synchronous('off');
  await waiting;
  await pair.start('db2');
  await pair.synchronous('on');
  assert.equal(await pair.sql('db2', 'SELECT count(*) FROM kept'), '1');
});

test('the network is for TLS and passwords alone', async (t) => {
  const pair = await pairOf(t);
  if (pair === undefined) return;
  const connect = (options: string) =>
    tryRun('psql', [
      '-X',
      '-d',
      `host=localhost port=${pair.ports.db1} ${options}`,
      '-c',
      'SELECT 1',
    ]);
  const node = `user=keyreeve password=${pair.password} dbname=keyreeve`;
  const trusted = `sslrootcert=${pair.caFile} sslmode=verify-full`;
  assert.equal(connect(`${node} ${trusted}`).status, 0);
  for (const [options, expected] of [
    [`${node} sslmode=disable`, /no pg_hba\.conf entry .*no encryption/],
    [`user=keyreeve password=guessed dbname=keyreeve ${trusted}`, /password authentication failed/],
    [`user=keyreeve password=${pair.password} dbname=postgres ${trusted}`, /no pg_hba\.conf entry/],
    [`user=postgres password=guessed dbname=keyreeve ${trusted}`, /no pg_hba\.conf entry/],
  ] as const) {
    const { status, stderr } = connect(options);
    assert.notEqual(status, 0, options);
    assert.match(stderr.toString(), expected);
  }
});
