import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { KeyView } from '../../api/routes/keys.ts';
import { type ApiClient, createClient } from '../../client/api-client.ts';
import { deadDatabase } from '../dead-database.ts';
import { eventually } from '../eventually.ts';
import { pages } from '../pages.ts';
import { type Installation, logIn, makeInstallation, startService } from '../service.ts';
import { mixedLoad, provesWhole, randomNumbers } from './kill-load.ts';
import { Acknowledged } from './kill-model.ts';

/** Set to the seed that a failed run printed, to make its choices again. */
const seedVariable = 'KEYREEVE_TEST_SEED';
const loadMilliseconds = { least: 50, most: 600 } as const;

export interface KillOptions {
  readonly rounds: number;
  /** More settings of the service. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Reads the ids of intents from the database of a service that was killed. */
  readonly intents?: () => readonly string[];
}

/**
 * Kills the service with SIGKILL at random moments under load, starts it again on the same folders,
 * and holds what it has against everything that it acknowledged.
 */
export async function killRounds(t: TestContext, options: KillOptions): Promise<void> {
  const seed = Number(process.env[seedVariable] ?? Math.floor(Math.random() * 2 ** 32));
  t.diagnostic(`seed ${seed}: to repeat its choices, set ${seedVariable}=${seed}`);
  const random = randomNumbers(seed);
  const installation = makeInstallation(t, options.environment);
  const keyFiles = join(installation.folder, 'keys');
  installation.environment.CRYPTO_KEYS_PATH = keyFiles;
  const intents = options.intents ?? (() => intentsOf(installation));
  const known = new Acknowledged();

  let service = await startService(t, installation);
  const login = await logIn(t, service);
  const client = (url: string): ApiClient =>
    createClient({ ...login, url, wait: () => Promise.reject(new Error('no service')) });
  // The folder of key files is there from now on.
  const first = {
    name: 'kill/first',
    algorithm: 'p-256',
    purpose: 'sign',
    keystore: 'file',
  } as const;
  await login.client.call('key.create', { body: first });
  known.keys.set(first.name, {
    name: first.name,
    keystore: 'file',
    version: 1,
    state: 'active',
    pending: undefined,
  });
  const kept = await login.client.call('audit.checkpoint');
  let held = kept.checkpoint;
  let orphans: readonly string[] = [];
  let orphansTotal = 0;

  for (let round = 1; round <= options.rounds; round++) {
    const loaded = client(service.url);
    let isOver = false;
    const load = mixedLoad({ client: loaded, round, random, known, isOver: () => isOver });
    const { least, most } = loadMilliseconds;
    const pause = least + random() * (most - least);
    await Promise.race([load, new Promise((resolve) => setTimeout(resolve, pause))]);
    isOver = true;
    await service.stop('SIGKILL');
    await load;
    loaded.close();

    const left = intents();
    const old = left.filter((id) => orphans.includes(id));
    assert.deepEqual(old, [], `seed ${seed}, round ${round}: intents that no start has settled`);
    orphans = left;
    orphansTotal += left.length;

    service = await startService(t, installation);
    const checking = client(service.url);
    const problems = await check(checking, known, keyFiles, { held, logKey: kept.logKey });
    assert.deepEqual(problems, [], `seed ${seed}, round ${round}`);
    held = (await checking.call('audit.checkpoint')).checkpoint;
    checking.close();
  }
  assert.equal(await service.stop(), 0);
  assert.deepEqual(intents(), [], `seed ${seed}: intents are left`);
  assert.ok(known.acknowledgedTotal > options.rounds, 'too few calls to prove anything');
  t.diagnostic(
    `${known.acknowledgedTotal} calls acknowledged, ${known.keys.size} keys, ${orphansTotal} orphaned intents`,
  );
}

async function check(
  client: ApiClient,
  known: Acknowledged,
  keyFiles: string,
  before: { held: string; logKey: string },
): Promise<string[]> {
  const keys = await pages((after) => client.call('key.list', { query: { limit: 500, after } }));
  const tokens = await pages((after) =>
    client.call('token.list', { query: { limit: 500, after } }),
  );
  const problems = [
    ...known.reconcile(keys),
    ...known.reconcileTokens(tokens),
    ...filesWithoutRow(keyFiles, keys),
    ...(await missingEntries(client, known)),
  ];
  for (const { name } of [...known.keys.values()].slice(-6)) {
    if (!(await provesWhole(client, name))) problems.push(`${name} does not sign`);
  }
  await eventually(async () => (await client.call('status')).record.waiting === 0);
  const body = { checkpoint: before.held, logKey: before.logKey };
  const report = await client.call('audit.verify', { body });
  if (!report.ok) problems.push(`the record: ${JSON.stringify(report.problems)}`);
  return problems;
}

/** Everything in the folder of key files belongs to a version that the service knows. */
function filesWithoutRow(folder: string, keys: readonly KeyView[]): string[] {
  const names = keys
    .flatMap((key) => key.versions)
    .filter((version) => version.uri.startsWith('file:'))
    .map((version) => version.uri.slice('file:'.length));
  return [
    ['private', '.pem'],
    ['public', '.pub'],
  ].flatMap(([part, ending]) => {
    const expected = new Set(names.map((name) => `${name}${ending}`));
    const found = readdirSync(join(folder, part!));
    const missing = [...expected].filter((file) => !found.includes(file));
    return [
      ...found.filter((file) => !expected.has(file)).map((file) => `${part}/${file} has no row`),
      ...missing.map((file) => `${part}/${file} is gone`),
    ];
  });
}

/** Every call of this round that was answered has its entry, with its outcome. */
async function missingEntries(client: ApiClient, known: Acknowledged): Promise<string[]> {
  const waiting = new Map(known.calls.map((call) => [call.correlationId, call.action]));
  let after: string | undefined;
  while (waiting.size > 0) {
    const page = await client.call('audit.list', { query: { limit: 500, after } });
    for (const entry of page.items) {
      const id = String(entry.correlationId);
      const isIt = entry.outcome === 'ok' && entry.kind !== 'intent';
      if (isIt && waiting.get(id) === entry.action) waiting.delete(id);
    }
    if (page.next === null) break;
    after = page.next;
  }
  // The search by correlation id finds them too.
  const sample = known.calls.at(-1);
  known.calls = [];
  if (sample !== undefined) {
    const query = { correlationId: sample.correlationId };
    const { items } = await client.call('audit.list', { query });
    if (items.length === 0) waiting.set(sample.correlationId, `search for ${sample.action}`);
  }
  return [...waiting].map(([id, action]) => `${action} ${id} was acknowledged without an entry`);
}

function intentsOf(installation: Installation): string[] {
  return deadDatabase(installation, (database) =>
    database
      .prepare('SELECT "id" FROM "intent"')
      .all()
      .map((row) => String(row.id)),
  );
}
