import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import { type ApiClient, createClient } from '../../client/api-client.ts';
import { freshRequest } from '../../server/pki/publication/publication.fixture.ts';
import { parseCrl } from '../../server/x509/x509.ts';
import { deadDatabase } from '../dead-database.ts';
import { logIn, makeInstallation, startService } from '../service.ts';
import { randomNumbers } from './kill-load.ts';

const seedVariable = 'KEYREEVE_TEST_SEED';
const loadMilliseconds = { least: 400, most: 1500 } as const;
const callers = 6;
const batchItems = 4;
const ca = 'kill/issuer';

/** What was acknowledged of a certificate; `unknown`: its revocation was asked for, not answered. */
interface KnownCertificate {
  readonly pem: string;
  state: 'valid' | 'revoked' | 'unknown';
}

/** What everybody could see of the CRLs of the CA, over all lives of the service. */
class SeenCrls {
  readonly #digests = new Map<bigint, string>();
  #highest = 0n;

  see(der: Buffer): ReadonlySet<string> {
    const { number, entries } = parseCrl(der);
    assert.ok(number !== undefined && number >= this.#highest, 'the number of a CRL fell');
    const digest = createHash('sha256').update(der).digest('hex');
    assert.equal(this.#digests.get(number) ?? digest, digest, 'two CRLs have one number');
    this.#digests.set(number, digest);
    this.#highest = number;
    return new Set(entries.map(({ serial }) => serial.toString('hex')));
  }

  get count(): number {
    return this.#digests.size;
  }
}

/**
 * Kills the service with SIGKILL while it issues, revokes and publishes, starts it again, and holds
 * its inventory and its CRLs against what it acknowledged and what it had announced.
 */
export async function killIssuingRounds(t: TestContext, rounds: number): Promise<void> {
  const seed = Number(process.env[seedVariable] ?? Math.floor(Math.random() * 2 ** 32));
  t.diagnostic(`seed ${seed}: to repeat its choices, set ${seedVariable}=${seed}`);
  const random = randomNumbers(seed);
  const installation = makeInstallation(t);
  const known = new Map<string, KnownCertificate>();
  const seen = new SeenCrls();
  let announcedTotal = 0;

  let service = await startService(t, installation);
  const login = await logIn(t, service);
  const client = (url: string): ApiClient =>
    createClient({ ...login, url, wait: () => Promise.reject(new Error('no service')) });
  const root = await login.client.call('ca.create', {
    body: { name: ca, subject: 'CN=Kill', algorithm: 'p-256' },
  });
  const path = `/crl/${root.versions[0]!.keyFingerprint.slice(0, 40)}.crl`;

  for (let round = 1; round <= rounds; round++) {
    const loaded = client(service.url);
    let isOver = false;
    const load = Promise.all([
      ...Array.from({ length: callers }, () => work(loaded, known, random, () => isOver)),
      watch(`${service.httpUrl}${path}`, seen, () => isOver),
    ]);
    const { least, most } = loadMilliseconds;
    const pause = least + random() * (most - least);
    await Promise.race([load, new Promise((resolve) => setTimeout(resolve, pause))]);
    isOver = true;
    await service.stop('SIGKILL');
    await load;
    loaded.close();

    const announced = announcedSerials(installation);
    announcedTotal += announced.length;
    service = await startService(t, installation);
    const checking = client(service.url);
    const problems = await check(checking, known, announced, seen);
    assert.deepEqual(problems, [], `seed ${seed}, round ${round}`);
    checking.close();
  }
  const { ok } = await client(service.url).call('audit.verify', { body: {} });
  assert.equal(ok, true);
  assert.equal(await service.stop(), 0);
  assert.deepEqual(announcedSerials(installation), [], 'intents are left');
  t.diagnostic(
    `${known.size} certificates acknowledged, ${announcedTotal} announced when the service died, ${seen.count} CRLs`,
  );
}

/** One of many who call at once, each with a key and a subject of his own. */
async function work(
  client: ApiClient,
  known: Map<string, KnownCertificate>,
  random: () => number,
  isOver: () => boolean,
): Promise<void> {
  const csr = freshRequest(`caller ${random()}`);
  const body = { ca, profile: 'tls-client', csr } as const;
  const own: string[] = [];
  const take = (issued: { serial: string; certificate: string | null }) => {
    known.set(issued.serial, { pem: issued.certificate!, state: 'valid' });
    own.push(issued.serial);
  };
  while (!isOver()) {
    try {
      const choice = random();
      if (choice < 0.6) take(await client.call('certificate.issue', { body }));
      else if (choice < 0.8) {
        const items = Array.from({ length: batchItems }, () => body);
        const answer = await client.call('certificate.issue.batch', { body: { items } });
        for (const item of answer.items) {
          assert.ok('certificate' in item);
          take(item.certificate);
        }
      } else await revoke(client, known, own.pop());
    } catch (error) {
      if (isOver()) return;
      throw error;
    }
  }
}

async function revoke(
  client: ApiClient,
  known: Map<string, KnownCertificate>,
  serial: string | undefined,
): Promise<void> {
  if (serial === undefined) return;
  const certificate = known.get(serial)!;
  certificate.state = 'unknown';
  await client.call('certificate.revoke', { params: { serial }, body: {} });
  certificate.state = 'revoked';
}

async function watch(url: string, seen: SeenCrls, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const answer = await fetch(url).catch(() => undefined);
    const bytes = answer?.ok ? await answer.arrayBuffer().catch(() => undefined) : undefined;
    if (bytes !== undefined) seen.see(Buffer.from(bytes));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The serial numbers that a service had announced and not settled when it was killed. */
function announcedSerials(installation: Parameters<typeof deadDatabase>[0]): string[] {
  return deadDatabase(installation, (database) =>
    database
      .prepare(`SELECT "payload_json" FROM "intent" WHERE "kind" = 'certificate.sign'`)
      .all()
      .flatMap(({ payload_json: text }) => JSON.parse(String(text)).certificates)
      .map(({ serial }: { serial: string }) => serial),
  );
}

async function check(
  client: ApiClient,
  known: ReadonlyMap<string, KnownCertificate>,
  announced: readonly string[],
  seen: SeenCrls,
): Promise<string[]> {
  const problems: string[] = [];
  const pieces: Uint8Array[] = [];
  const asked = { params: { ca }, query: { fresh: 'true' } } as const;
  for await (const piece of await client.stream('crl.get', asked)) pieces.push(piece);
  const listed = seen.see(Buffer.concat(pieces));
  const found = await inventory(client);
  for (const serial of announced) {
    const state = found.get(serial);
    // Its row may have been on disk and the answer on its way.
    if (state === undefined || !listed.has(serial))
      problems.push(`${serial} was announced: ${state}`);
  }
  for (const [serial, certificate] of known) {
    const state = found.get(serial);
    const isAsKnown =
      state === certificate.state ||
      (certificate.state === 'unknown' && (state === 'valid' || state === 'revoked'));
    if (!isAsKnown) problems.push(`${serial} is ${state}, acknowledged was ${certificate.state}`);
    else certificate.state = state as KnownCertificate['state'];
  }
  for (const [serial, state] of found) {
    if ((state === 'revoked') !== listed.has(serial)) {
      problems.push(`${serial} is ${state} and ${listed.has(serial) ? '' : 'not '}on the CRL`);
    }
  }
  const [sample] = [...known].slice(-1);
  if (sample !== undefined) {
    const [serial, { pem }] = sample;
    const { certificate } = await client.call('certificate.show', { params: { serial } });
    if (certificate !== pem) problems.push(`${serial} is another certificate than was answered`);
  }
  return problems;
}

/** The state of every certificate but the CA's own. */
async function inventory(client: ApiClient): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  let after: string | undefined;
  do {
    const query = { limit: 500, after, ca, profile: 'tls-client' };
    const page = await client.call('certificate.list', { query });
    for (const { serial, state } of page.items) found.set(serial, state);
    after = page.next ?? undefined;
  } while (after !== undefined);
  return found;
}
