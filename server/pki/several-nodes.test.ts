import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { skip } from '../../test/tools.ts';
import type { SignByVersion } from './publication/make-crl.ts';
import { freshRequest, openTestPublication, serialsOf } from './publication/publication.fixture.ts';

let server: TestPostgres | undefined;
let databases = 0;
before((t) => {
  server = startPostgres(t as TestContext);
});
after(() => server?.remove());

type Node = Awaited<ReturnType<typeof openTestPublication>>;

/** Two nodes that publish, on one database; `signing` is that of the first one's CRLs. */
async function openNodes(
  t: TestContext,
  signing?: (sign: SignByVersion) => SignByVersion,
): Promise<{ a: Node; b: Node } | undefined> {
  if (server === undefined) {
    skip(t, 'PostgreSQL is not here');
    return undefined;
  }
  const databaseUrl = server.createDatabase(`nodes${databases++}`);
  const a = await openTestPublication(t, {
    databaseUrl,
    ...(signing === undefined ? {} : { signing }),
  });
  const b = await openTestPublication(t, { databaseUrl, storeKey: a.storeKey, waitSeconds: 1 });
  return { a, b };
}

const catchUp = ({ storage }: Node) => storage.refreshEpoch();
const codeOf = (outcome: PromiseSettledResult<unknown>) =>
  outcome.status === 'fulfilled' ? 'ok' : outcome.reason.code;

test('while one node makes a CRL the other begins none, and takes none for fresh', async (t) => {
  let release: () => void = () => undefined;
  let held: Promise<void> | undefined;
  const nodes = await openNodes(t, (sign) => async (...asked) => {
    await held;
    return sign(...asked);
  });
  if (nodes === undefined) return;
  const { a, b } = nodes;
  await a.root('ca');
  const serial = await a.issued('ca');
  await a.round();
  await catchUp(b);
  b.clock.advance(10);
  a.clock.advance(10);
  held = new Promise((resolve) => {
    release = resolve;
  });
  await b.revoke(serial);
  await a.publication.publishDue();
  const claims = () =>
    a.storage.db.selectFrom('ca_version').select('crl_claimed_by').executeTakeFirstOrThrow();
  while ((await claims()).crl_claimed_by === null) await a.publication.publishDue();
  assert.equal((await claims()).crl_claimed_by, a.storage.nodeId);
  // It says of itself that it is due much later; the other node is not to believe that.
  await assert.rejects(b.crl('ca', { fresh: 'true' }), { code: 'crl-unavailable' });
  await b.round();
  assert.equal((await b.state('ca')).crl_number, 1);
  assert.deepEqual(b.logged, [], 'who was second has not failed');
  release();
  await a.publication.idle();
  // Not yet told of it: it is read.
  const crl = await b.crl('ca', { fresh: 'true' });
  assert.deepEqual([crl.number, serialsOf(crl)], [2n, [serial]]);
});

test('a CRL that a node which is gone had begun is made by the other at once', async (t) => {
  const nodes = await openNodes(t, (sign) => async (...asked) => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    return sign(...asked);
  });
  if (nodes === undefined) return;
  const { a, b } = nodes;
  await a.root('ca');
  void a.publication.publishDue();
  const claimed = () =>
    b.storage.db.selectFrom('ca_version').select('crl_claimed_by').executeTakeFirstOrThrow();
  while ((await claimed()).crl_claimed_by === null) await new Promise(setImmediate);
  const isOrphan = (nodeId: string) => nodeId === a.storage.nodeId;
  await b.publication.cutShort(isOrphan);
  await b.round();
  assert.equal((await b.crl('ca')).number, 1n);
  // The one that slept finds that it is none of its business any more.
  await a.publication.idle();
  assert.equal((await b.state('ca')).crl_number, 1);
  const { rows } = { rows: await b.storage.db.selectFrom('crl').select('number').execute() };
  assert.deepEqual(rows, [{ number: 1 }]);
});

test('two nodes that certify one key for two subjects at once certify it for one', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const { a, b } = nodes;
  await a.root('ca');
  await catchUp(b);
  for (let round = 0; round < 5; round++) {
    const csr = freshRequest();
    const outcomes = await Promise.allSettled(
      [a, b].map((node, index) =>
        node.issue({
          ...{ ca: 'ca', profile: 'tls-server', csr },
          subject: `CN=host${index}.example.org`,
          names: [`dns:host${index}.example.org`],
        }),
      ),
    );
    const codes = outcomes.map(codeOf);
    assert.ok(codes.includes('ok'), codes.join());
    assert.ok(
      codes.some((code) => ['conflict', 'public-key-refused'].includes(code)),
      codes.join(),
    );
  }
  const living = (await a.rows()).filter((row) => row.profile === 'tls-server' && !row.revoked_at);
  assert.equal(living.length, 5);
  assert.equal(new Set(living.map((row) => row.key_fingerprint)).size, 5);
  assert.deepEqual(await a.intents(), []);
});

test('two CAs of one subject, spelt in two ways, are not made on two nodes at once', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const made = await Promise.allSettled(
    [nodes.a, nodes.b].map((node, index) =>
      node.root(`ca${index}`, { subject: index === 0 ? 'CN=The  Root' : 'CN=the root' }),
    ),
  );
  assert.deepEqual(made.map(codeOf).sort(), ['already-exists', 'ok']);
});

test('two nodes that re-key one CA at once make one version, and both tell of it', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const { a, b } = nodes;
  await a.root('ca');
  await catchUp(b);
  const asked = { params: { ca: 'ca' }, body: { sawVersion: 1 } };
  const views = await Promise.all([a, b].map((node) => node.ask('ca.rekey', asked)));
  assert.deepEqual(
    views.map((view) => view.versions.map(({ version }) => version)),
    [
      [1, 2],
      [1, 2],
    ],
  );
  const [one, other] = views.map((view) => view.versions[1]!.keyFingerprint);
  assert.equal(one, other);
  assert.deepEqual(await a.intents(), []);
});
