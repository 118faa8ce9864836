import { verify } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KeyView } from '../../api/routes/keys.ts';
import type { ApiClient } from '../../client/api-client.ts';
import { eventually } from '../eventually.ts';
import { pages } from '../pages.ts';
import { commandLine } from '../service.ts';
import { findProgram, tryRun } from '../tools.ts';
import type { Cluster } from './cluster.ts';
import { insist, sharedKey } from './cluster-load.ts';
import type { ClusterModel, KnownKey } from './cluster-model.ts';

const secondVerifier = fileURLToPath(new URL('../verify-record.py', import.meta.url));
const pageItems = 500;
const settledMilliseconds = 30_000;
/** Ciphertexts that are opened again: each is a call. */
const decryptedMax = 100;

/** Holds what every node shows against everything that was answered. Returns what is wrong. */
export async function checkCluster(cluster: Cluster, model: ClusterModel): Promise<string[]> {
  const clients = cluster.nodes.map((node) => cluster.client(node.url));
  await eventually(
    async () => {
      const all = await Promise.all(clients.map((client) => insist(client, 'status', {})));
      return all.every(({ record }) => record.waiting === 0);
    },
    { milliseconds: settledMilliseconds, message: 'entries wait for their place in the record' },
  );
  const views = await Promise.all(clients.map(keysOf));
  const [first, ...others] = views as [KeyView[], ...KeyView[][]];
  const client = clients[0]!;
  const problems = [
    ...others.flatMap((other, index) =>
      JSON.stringify(other) === JSON.stringify(first)
        ? []
        : [`${cluster.nodes[index + 1]!.name} shows other keys`],
    ),
    ...keyProblems(first, model),
    ...signatureProblems(first, model),
    ...(await ciphertextProblems(clients, model)),
    ...(await tokenProblems(client, model)),
    ...(await certificateProblems(client, model)),
    ...(await entryProblems(client, model)),
    ...(await recordProblems(clients, model)),
    ...(await exportProblems(cluster, clients)),
  ];
  return problems;
}

function keyProblems(found: readonly KeyView[], model: ClusterModel): string[] {
  const problems: string[] = [];
  const byName = Map.groupBy(found, (view) => view.name);
  for (const [name, views] of byName) {
    if (views.length !== 1) problems.push(`${name} is there ${views.length} times`);
    const numbers = views[0]!.versions.map(({ version }) => version).join();
    const expected = Array.from(views[0]!.versions, (_, index) => index + 1).join();
    if (numbers !== expected) problems.push(`${name} has the versions ${numbers}`);
    const isOurs = model.keys.has(name) || model.openNames.has(name) || name === sharedKey;
    if (name.startsWith('cluster/') && name !== 'cluster/clients' && !isOurs) {
      problems.push(`${name} is there, and nobody was answered`);
    }
  }
  const fingerprints = found.flatMap((view) => view.versions.map((one) => one.fingerprint));
  if (new Set(fingerprints).size !== fingerprints.length) {
    problems.push('two versions have one key');
  }
  for (const key of model.keys.values()) {
    problems.push(...oneKeyProblems(key, byName.get(key.name)?.[0]));
  }
  return problems;
}

function oneKeyProblems(key: KnownKey, view: KeyView | undefined): string[] {
  if (view === undefined) return [`${key.name} was acknowledged and is not there`];
  const extra = view.versions.length - key.versions.size;
  const problems = [...key.versions].flatMap(([number, fingerprint]) => {
    const version = view.versions.find((one) => one.version === number);
    if (version?.fingerprint === fingerprint) return [];
    return [`${key.name}@${number} was acknowledged as another key, or is not there`];
  });
  if (extra === 0 || (key.isOpen && extra === 1)) return problems;
  return [...problems, `${key.name} has ${extra} versions more than were acknowledged`];
}

function signatureProblems(found: readonly KeyView[], { signatures }: ClusterModel): string[] {
  const byName = new Map(found.map((view) => [view.name, view]));
  return signatures.flatMap(({ key, version, data, signature }) => {
    const made = byName.get(key)?.versions.find((one) => one.version === version);
    if (made === undefined) return [`${key}@${version} signed and is not there`];
    const hash = made.algorithm === 'ed25519' ? null : 'sha256';
    const isValid = verify(hash, data, made.publicKey!, Buffer.from(signature, 'base64'));
    return isValid ? [] : [`a signature of ${key}@${version} does not verify`];
  });
}

async function ciphertextProblems(
  clients: readonly ApiClient[],
  { ciphertexts }: ClusterModel,
): Promise<string[]> {
  const problems: string[] = [];
  for (const [index, one] of ciphertexts.slice(-decryptedMax).entries()) {
    const client = clients[index % clients.length]!;
    const { key, ciphertext } = one;
    const asked = insist(client, 'key.decrypt', { params: { key }, body: { ciphertext } });
    const opened = await asked.catch((error) => ({ plaintext: `refused: ${error.code}` }));
    if (opened.plaintext !== one.plaintext) problems.push(`${key} does not open what it made`);
  }
  return problems;
}

async function tokenProblems(client: ApiClient, { tokens }: ClusterModel): Promise<string[]> {
  const found = await pages((after) =>
    insist(client, 'token.list', { query: { limit: pageItems, after } }),
  );
  const byId = new Map(found.map((view) => [view.id, view]));
  return [...tokens].flatMap(([id, known]) => {
    const view = byId.get(id);
    if (view === undefined) return [`the token ${id} was acknowledged and is not there`];
    const state = view.revokedAt === null ? 'living' : 'revoked';
    return known === 'open' || known === state ? [] : [`the token ${id} is ${state}, not ${known}`];
  });
}

async function certificateProblems(
  client: ApiClient,
  { certificates }: ClusterModel,
): Promise<string[]> {
  const found = await pages((after) =>
    insist(client, 'certificate.list', { query: { limit: pageItems, after } }),
  );
  const states = new Map(found.map(({ serial, state }) => [serial, state]));
  const problems = [...certificates.keys()]
    .filter((serial) => states.get(serial) !== 'valid')
    .map((serial) => `the certificate ${serial} was acknowledged and is ${states.get(serial)}`);
  const [sample] = [...certificates].slice(-1);
  if (sample === undefined) return [...problems, 'no certificate was issued'];
  const [serial, pem] = sample;
  const asked = insist(client, 'certificate.show', { params: { serial } });
  const shown = await asked.catch((error) => ({ certificate: `refused: ${error.code}` }));
  return shown.certificate === pem ? problems : [...problems, `${serial} is another certificate`];
}

/** What was answered has its entry, and a command that was repeated with its key has one. */
async function entryProblems(client: ApiClient, model: ClusterModel): Promise<string[]> {
  const entries = await pages((after) =>
    insist(client, 'audit.list', { query: { limit: pageItems, after } }),
  );
  const counts = new Map<string, number>();
  for (const { correlationId, action, outcome, kind } of entries) {
    if (outcome !== 'ok' || kind === 'intent') continue;
    const name = `${correlationId} ${action}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...model.acknowledged].flatMap(([id, { action, kind }]) => {
    const count = counts.get(`${id} ${action}`) ?? 0;
    if (count === 0) return [`${action} ${id} was acknowledged without an entry`];
    return count > 1 && kind === 'command' ? [`${action} ${id} was done ${count} times`] : [];
  });
}

/** One tree: each node finds it whole, and every checkpoint that was ever seen is a part of it. */
async function recordProblems(
  clients: readonly ApiClient[],
  model: ClusterModel,
): Promise<string[]> {
  const problems: string[] = [];
  const { logKey } = await insist(clients[0]!, 'audit.checkpoint', {});
  for (const client of clients) {
    model.seeCheckpoint((await insist(client, 'audit.checkpoint', {})).checkpoint);
  }
  for (const [index, checkpoint] of [...model.checkpoints.values()].entries()) {
    const client = clients[index % clients.length]!;
    const report = await insist(client, 'audit.verify', { body: { checkpoint, logKey } });
    if (!report.ok) problems.push(`the record: ${JSON.stringify(report.problems)}`);
  }
  for (const client of clients) {
    const report = await insist(client, 'audit.verify', { body: {} });
    if (!report.ok) problems.push(`the record: ${JSON.stringify(report.problems)}`);
  }
  return problems;
}

/** An export verifies offline, by the second verifier too, and so does what a node published. */
async function exportProblems(
  { nodes, login }: Cluster,
  clients: readonly ApiClient[],
): Promise<string[]> {
  const node = nodes.at(-1)!;
  const { folder } = node.installation;
  const command = commandLine(node.installation, node, login);
  const held = await insist(clients[0]!, 'audit.checkpoint', {});
  const [checkpoint, logKey] = [join(folder, 'held-checkpoint'), join(folder, 'held-log-key')];
  writeFileSync(checkpoint, held.checkpoint);
  writeFileSync(logKey, `${held.logKey}\n`);
  const kept = ['--checkpoint', checkpoint, '--log-key', logKey];
  const target = join(folder, `export-${readdirSync(folder).length}`);
  const exported = await command(['audit', 'export', target]);
  if (exported.code !== 0) return [`audit export: ${exported.stderr}`];
  const verified = await command(['audit', 'verify', target, ...kept]);
  const problems =
    verified.code === 0 ? [] : [`audit verify: ${verified.stdout}${verified.stderr}`];
  const [python, openssl] = [findProgram('python3'), findProgram('openssl')];
  if (python === undefined || openssl === undefined) return problems;
  const { status, stdout } = tryRun(python, [secondVerifier, target, ...kept]);
  return status === 0 ? problems : [...problems, `verify-record.py: ${stdout}`];
}

function keysOf(client: ApiClient): Promise<KeyView[]> {
  return pages((after) => insist(client, 'key.list', { query: { limit: pageItems, after } }));
}
