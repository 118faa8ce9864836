import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { type ApiClient, createClient } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { pemText } from '../../server/base/pem.ts';
import { assembleSigned, encodeName, encodeRequest, parseCrl } from '../../server/x509/x509.ts';
import { eventually } from '../eventually.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import {
  type Installation,
  type LoggedIn,
  logIn,
  makeInstallation,
  type RunningService,
  startService,
} from '../service.ts';
import { startSoftHsm, type TestSoftHsm } from '../softhsm.ts';
import { skip } from '../tools.ts';

const atOnce = 50;
/** What one node has done is seen by the other by then. */
const seenMilliseconds = 1000;
const data = Buffer.from('Signed by whichever node.').toString('base64');

/** Two nodes on one database, with one root key and a data folder each. */
interface Nodes {
  readonly database: string;
  readonly first: RunningService;
  readonly second: RunningService;
  readonly login: LoggedIn;
  readonly a: ApiClient;
  readonly b: ApiClient;
  /** Where the second one keeps what is its own. */
  readonly secondInstallation: Installation;
}

let server: TestPostgres | undefined;
let pair: Nodes | undefined;
let hsm: TestSoftHsm | undefined;
/** What the tests of this file share is cleaned up after all of them. */
const cleanups: (() => unknown)[] = [];
const cleanup = { after: (clean: () => unknown) => void cleanups.push(clean) };
after(async () => {
  for (const clean of cleanups.reverse()) await clean();
  server?.remove();
});

async function startNodes(name: string): Promise<Nodes | undefined> {
  if (server === undefined) return undefined;
  const url = server.createDatabase(name);
  const installations = [0, 1].map(() => makeInstallation(cleanup));
  const [one, other] = installations as [Installation, Installation];
  for (const { environment } of installations) {
    environment.KEYREEVE_DATABASE_URL = url;
    environment.KEYREEVE_SEAL = one.seal;
  }
  const [first, second] = await Promise.all([
    startService(cleanup, one),
    startService(cleanup, other),
  ]);
  const login = await logIn(cleanup, first);
  return {
    ...{ database: name, first, second, login, secondInstallation: other },
    a: login.client,
    b: login.at(second.url),
  };
}

/** The answers of calls that began together, by turns on either node; errors by their codes. */
async function together<Answer>(
  { a, b }: Nodes,
  call: (client: ApiClient, index: number) => Promise<Answer>,
): Promise<{ answers: Answer[]; codes: string[] }> {
  const settled = await Promise.allSettled(
    Array.from({ length: atOnce }, (_, index) => call(index % 2 === 0 ? a : b, index)),
  );
  const answers = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const codes = settled.flatMap((one) =>
    one.status === 'fulfilled'
      ? []
      : [isKeyreeveError(one.reason) ? one.reason.code : `${one.reason}`],
  );
  return { answers, codes };
}

const makeBody = (name: string, more: object = {}) =>
  ({ name, algorithm: 'p-256', purpose: 'sign', ...more }) as const;
const sign = (client: ApiClient, key: string) =>
  client.call('key.sign', { params: { key }, body: { data } });
const code = (call: Promise<unknown>) =>
  call.then(
    () => 'ok',
    (error: unknown) => (isKeyreeveError(error) ? error.code : String(error)),
  );
/** Waits until a call ends like this; fails unless it does within the second. */
async function soon(wanted: string, call: () => Promise<unknown>): Promise<void> {
  const end = performance.now() + seenMilliseconds;
  let found = '';
  while (performance.now() < end) {
    found = await code(call());
    if (found === wanted) return;
    await pause(20);
  }
  assert.equal(found, wanted, 'within a second');
}

test('two nodes start at the same time on an empty database, and one makes what there is once', async (t) => {
  server = startPostgres(t);
  pair = await startNodes('nodes');
  if (pair === undefined || server === undefined) return;
  const { a, b, login, second } = pair;
  const [one, other] = await Promise.all([a.call('status'), b.call('status')]);
  assert.equal(one.installation, other.installation);
  assert.equal(one.rootKey.fingerprint, other.rootKey.fingerprint);
  assert.equal(one.nodes.length, 2);
  const own = (status: typeof one) => status.nodes.find(({ isThis }) => isThis)?.id;
  assert.notEqual(own(one), own(other));
  const count = (table: string) => server!.sql('nodes', `SELECT count(*) FROM "${table}"`);
  assert.deepEqual(['store_key', 'key', 'log_key', 'tree'].map(count), ['1', '1', '1', '1']);
  // Whoever trusts the one CA is served by either node, each with a certificate of its own.
  const stranger = createClient({ url: second.url, caPem: login.caPem });
  t.after(() => stranger.close());
  assert.equal(await code(stranger.call('audit.checkpoint')), 'ok');
});

test('fifty creations of one name on two nodes make one key', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const body = makeBody('race/create');
  const { answers, codes } = await together(pair, (client) => client.call('key.create', { body }));
  assert.equal(answers.length, 1, `${answers.length} of them made a key: ${codes}`);
  assert.deepEqual([...new Set(codes)], ['already-exists']);
  assert.equal((await pair.b.call('key.list', { query: { folder: 'race' } })).items.length, 1);
});

test('fifty creations with one idempotency key make one key, and all are told of it', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const body = makeBody('race/idempotent');
  const idempotencyKey = 'race-idempotent';
  const { first, second, login } = pair;
  // Clients ask again; these do not wait as long for that as others do.
  const impatient = [first, second].map(({ url }) =>
    createClient({ url, caPem: login.caPem, token: login.token, wait: () => pause(50) }),
  );
  t.after(() => {
    for (const client of impatient) client.close();
  });
  const [a, b] = impatient as [ApiClient, ApiClient];
  const { answers, codes } = await together({ ...pair, a, b }, async (client) => {
    for (;;) {
      try {
        return await client.call('key.create', { body, idempotencyKey });
      } catch (error) {
        if (!isKeyreeveError(error, 'idempotency-in-progress')) throw error;
      }
    }
  });
  assert.deepEqual(codes, []);
  assert.equal(new Set(answers.map((one) => JSON.stringify(one))).size, 1);
});

test('fifty rotations on two nodes that saw one version make one version, and all are told of it', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const params = { key: 'race/create' };
  const body = { sawVersion: 1 };
  const { answers, codes } = await together(pair, (client) =>
    client.call('key.rotate', { params, body }),
  );
  assert.deepEqual(codes, []);
  assert.deepEqual([...new Set(answers.map((key) => key.versions[1]!.fingerprint))].length, 1);
  const shown = await pair.b.call('key.show', { params });
  assert.deepEqual(
    shown.versions.map(({ version }) => version),
    [1, 2],
  );
  for (const client of [pair.a, pair.b]) assert.equal((await sign(client, params.key)).version, 2);
});

test('a keystore that was added on one node is used on the other, and fifty rotations leave one object', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  hsm = startSoftHsm(t);
  if (hsm === undefined) return;
  cleanup.after(() => hsm?.remove());
  const { a, b } = pair;
  await a.call('keystore.add', { body: { name: 'hsm', uri: hsm.uri } });
  const key = 'race/token';
  await soon('ok', () => b.call('key.create', { body: makeBody(key, { keystore: 'hsm' }) }));
  const params = { key };
  const signed = await sign(a, key);
  const { answers, codes } = await together(pair, (client) =>
    client.call('key.rotate', { params, body: { sawVersion: 1 } }),
  );
  assert.deepEqual(codes, []);
  assert.equal(new Set(answers.map((one) => one.versions[1]!.fingerprint)).size, 1);
  const objects = hsm.tool(['--list-objects', '--type', 'privkey']).toString();
  assert.equal(objects.match(/Private Key Object/g)?.length, 2, objects);
  for (const client of [a, b]) {
    assert.equal((await sign(client, key)).version, 2);
    const verdict = await client.call('key.verify', {
      params,
      body: { data, signature: signed.signature },
    });
    assert.deepEqual([verdict.valid, verdict.version], [true, 1]);
  }
  assert.equal(server!.sql(pair.database, 'SELECT count(*) FROM "intent"'), '0');
  await a.call('key.destroy', { params, body: {} });
  await soon('key-pending-destruction', () => sign(b, key));
});

test('what one node does to a key, the other knows within a second', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const { a, b } = pair;
  const key = 'seen/key';
  const params = { key };
  await soon('not-found', () => sign(b, key));
  await a.call('key.create', { body: makeBody(key) });
  await soon('ok', () => sign(b, key));
  await b.call('key.rotate', { params, body: {} });
  await soon('ok', async () => assert.equal((await sign(a, key)).version, 2));
  await a.call('key.state', { params, body: { state: 'suspended', reason: 'seen by the other' } });
  await soon('state-not-allowed', () => sign(b, key));
  await b.call('key.state', { params, body: { state: 'active', reason: 'seen by the other' } });
  await soon('ok', () => sign(a, key));
  await a.call('key.destroy', { params, body: {} });
  await soon('key-pending-destruction', () => sign(b, key));
});

test('a token that was revoked on one node is refused on the other within a second', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const { a, b, login, second } = pair;
  const { token, id } = await a.call('token.create', {
    body: { label: 'to be revoked', ttlSeconds: 600 },
  });
  const client = createClient({ url: second.url, caPem: login.caPem, token });
  t.after(() => client.close());
  // A call that writes no entry.
  const ask = () => client.call('key.list', { query: {} });
  await soon('ok', ask);
  await a.call('token.revoke', { params: { token: id } });
  await soon('unauthenticated', ask);
  assert.equal(await code(b.call('key.list', { query: {} })), 'ok');
});

test('a client certificate that was revoked on one node logs nobody in on the other within a second', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const { a, b, login, second } = pair;
  const ca = 'seen/clients';
  await a.call('ca.create', { body: { name: ca, subject: 'CN=Clients', algorithm: 'p-256' } });
  await a.call('principal.create', {
    body: { name: 'app', kind: 'service', roles: ['administrator'] },
  });
  await a.call('principal.bind', {
    params: { principal: 'app' },
    body: { ca, kind: 'dns', value: 'app.example' },
  });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuing = { ca, profile: 'tls-client', csr: requestFor(privateKey, publicKey) };
  const issue = () =>
    b.call('certificate.issue', { body: { ...issuing, names: ['dns:app.example'] } });
  await soon('ok', issue);
  const { serial, certificate } = await issue();
  assert.ok(certificate !== null);
  const key = Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const client = createClient({
    ...{ url: second.url, caPem: login.caPem },
    clientCertificate: { certificate, key },
  });
  t.after(() => client.close());
  const ask = () => client.call('key.list', { query: {} });
  await soon('ok', ask);
  await a.call('certificate.revoke', { params: { serial }, body: { reason: 'superseded' } });
  await soon('unauthenticated', ask);
});

test('a CRL that is asked for on one node names what was revoked on the other, and no number comes twice', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const { a, b } = pair;
  const ca = 'seen/crl';
  await a.call('ca.create', { body: { name: ca, subject: 'CN=CRL', algorithm: 'p-256' } });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const csr = requestFor(privateKey, publicKey);
  await soon('ok', () => b.call('ca.show', { params: { ca } }));
  const issued = await b.call('certificate.issue', { body: { ca, profile: 'tls-client', csr } });
  const { serial } = issued;
  await a.call('certificate.revoke', { params: { serial }, body: {} });
  const crls = await Promise.all([a, b].map((client) => freshCrl(client, ca)));
  for (const crl of crls) {
    assert.deepEqual(
      crl.entries.map((entry) => entry.serial.toString('hex')),
      [serial],
    );
  }
  await Promise.all(
    [a, b].map((client) => client.call('crl.publish', { params: { ca }, body: {} })),
  );
  const stored = server!.sql(
    pair.database,
    `SELECT count(*), count(DISTINCT "crl"."number"), max("crl"."number") = max("crl_number")
      FROM "crl" JOIN "ca_version" USING ("key_id", "version")
      JOIN "key" ON "key"."id" = "key_id" WHERE "key"."name" = '${ca}'`,
  );
  assert.match(stored, /^(\d+)\|\1\|t$/);
  assert.equal(
    server!.sql(
      pair.database,
      'SELECT count(*) FROM "ca_version" WHERE "crl_claimed_by" IS NOT NULL',
    ),
    '0',
  );
});

test('a login code that is used on both nodes at once logs one in', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const { a, login, first, second } = pair;
  await a.call('principal.create', { body: { name: 'ada', kind: 'person', roles: ['auditor'] } });
  const { code: loginCode } = await a.call('principal.enrol', {
    params: { principal: 'ada' },
    body: {},
  });
  const visitors = [first, second].map(({ url }) => createClient({ url, caPem: login.caPem }));
  t.after(() => {
    for (const visitor of visitors) visitor.close();
  });
  const outcomes = await Promise.all(
    visitors.map((visitor) => code(visitor.call('login', { body: { code: loginCode } }))),
  );
  assert.deepEqual(outcomes.sort(), ['login-code-invalid', 'ok']);
});

test('the root key is moved on one node while the other serves, and that one goes on with it', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  const { a, b, secondInstallation } = pair;
  const to = join(secondInstallation.folder, 'moved.seal');
  const moved = await a.call('root-key.move', { body: { to } });
  assert.equal(moved.moved, true);
  assert.equal((await b.call('status')).rootKey.fingerprint, moved.fingerprint);
  await b.call('key.create', { body: makeBody('moved/key') });
  assert.equal((await sign(a, 'moved/key')).version, 1);
  // Its checksums are sealed by the root key in force.
  const pieces: Buffer[] = [];
  const passphrase = 'correct horse battery staple';
  for await (const piece of await b.stream('backup.create', { body: { passphrase } })) {
    pieces.push(piece);
  }
  assert.ok(Buffer.concat(pieces).length > 0);
});

test('a keystore that was removed on one node is not used on the other any more', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  if (hsm === undefined) return skip(t, 'SoftHSM2 is not here');
  const token = hsm;
  const { a, b } = pair;
  await a.call('keystore.add', { body: { name: 'gone', uri: token.uri } });
  await soon('ok', () => b.call('keystore.show', { params: { keystore: 'gone' } }));
  // One of them makes the test key, the other waits or finds it.
  const drills = await Promise.all(
    [a, b].map((one) =>
      code(one.call('keystore.drill', { params: { keystore: 'gone' }, body: {} })),
    ),
  );
  assert.ok(drills.includes('ok'), drills.join());
  const drilled = await b.call('keystore.drill', { params: { keystore: 'gone' }, body: {} });
  assert.equal(drilled.ok, true);
  await a.call('keystore.remove', { params: { keystore: 'gone' } });
  await soon('not-found', () => b.call('keystore.show', { params: { keystore: 'gone' } }));
  const body = makeBody('gone/key', { keystore: 'gone' });
  assert.equal(await code(b.call('key.create', { body })), 'invalid-request');
  assert.doesNotMatch(token.tool(['--list-objects', '--type', 'privkey']).toString(), /drill gone/);
});

test('what a killed node has begun in a token is taken back by the one that lives', async (t) => {
  if (pair === undefined) return skip(t, 'PostgreSQL is not here');
  if (hsm === undefined) return skip(t, 'SoftHSM2 is not here');
  const token = hsm;
  const { a, b, first, database } = pair;
  await b.call('keystore.add', { body: { name: 'left', uri: token.uri } });
  const show = () => a.call('keystore.show', { params: { keystore: 'left' } });
  await soon('ok', show);
  const objects = () => token.tool(['--list-objects', '--type', 'privkey']).toString();
  // The row of its version is not let in: the node has made the key, and waits.
  const lock = new pg.Client({ host: server!.socketFolder, user: 'postgres', database });
  await lock.connect();
  t.after(() => lock.end());
  await lock.query('BEGIN; LOCK TABLE "key_version" IN SHARE ROW EXCLUSIVE MODE');
  const making = code(a.call('key.create', { body: makeBody('left/key', { keystore: 'left' }) }));
  const waiting = `SELECT count(*) FROM pg_locks
    WHERE "relation" = 'key_version'::regclass AND NOT "granted"`;
  await eventually(() => server!.sql(database, waiting) === '1');
  assert.match(objects(), /left\/key/);
  await first.stop('SIGKILL');
  assert.equal(await making, 'unreachable');
  await lock.query('ROLLBACK');
  assert.equal(server!.sql(database, 'SELECT count(*) FROM "intent"'), '1');
  // Nobody has heard of it for long.
  server!.sql(
    database,
    `UPDATE "node" SET "seen_at" = 0 WHERE "id" IN (SELECT "node_id" FROM "intent")`,
  );
  await eventually(() => server!.sql(database, 'SELECT count(*) FROM "intent"') === '0');
  assert.doesNotMatch(objects(), /left\/key/);
  assert.equal(await code(b.call('key.show', { params: { key: 'left/key' } })), 'not-found');
  await b.call('key.create', { body: makeBody('left/key', { keystore: 'left' }) });
  const { items } = await b.call('audit.list', { query: { limit: 100 } });
  assert.ok(
    items.some((entry) => entry.action === 'intent.settled' && entry.keyName === 'left/key'),
  );
});

function requestFor(privateKey: KeyObject, publicKey: KeyObject): string {
  const subject = encodeName([[{ type: '2.5.4.3', value: 'app' }]]);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const tbs = encodeRequest(subject, {}, spki);
  const signature = signBytes('sha256', tbs, privateKey);
  return pemText('CERTIFICATE REQUEST', assembleSigned(tbs, 'ecdsa-sha256', signature));
}

async function freshCrl(client: ApiClient, ca: string) {
  const pieces: Buffer[] = [];
  const asked = { params: { ca }, query: { fresh: 'true' } } as const;
  for await (const piece of await client.stream('crl.get', asked)) pieces.push(piece);
  return parseCrl(Buffer.concat(pieces));
}
