import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { startCluster } from './cluster.ts';
import { checkCluster } from './cluster-check.ts';
import {
  createEverywhere,
  type EventName,
  happen,
  lateVersions,
  type Stage,
} from './cluster-events.ts';
import { clusterLoad, sharedKey } from './cluster-load.ts';
import { ClusterModel } from './cluster-model.ts';
import { CredentialMaker } from './cluster-witness.ts';
import { randomNumbers } from './kill-load.ts';

const seedVariable = 'KEYREEVE_TEST_SEED';
/** More of one kind say nothing new. */
const problemsShown = 20;

/**
 * Three nodes, a primary and a standby, nginx and haproxy in front, a mixed load, and one event after
 * the other. Afterwards everything that was answered is there, once, on every node.
 */
export async function clusterRounds(t: TestContext, order: readonly EventName[]): Promise<void> {
  const seed = Number(process.env[seedVariable] ?? Math.floor(Math.random() * 2 ** 32));
  t.diagnostic(`seed ${seed}: to repeat its choices, set ${seedVariable}=${seed}`);
  const begun = performance.now();
  const random = randomNumbers(seed);
  const cluster = await startCluster(t);
  if (cluster === undefined) return;
  const model = new ClusterModel();
  const credentials = await CredentialMaker.open(cluster);
  const body = { name: sharedKey, algorithm: 'p-256', purpose: 'sign' } as const;
  await cluster.client(cluster.nodes[0]!.url).call('key.create', { body });
  const stage: Stage = { t, cluster, model, credentials, random, honoured: [] };
  t.diagnostic(`all of it runs after ${seconds(begun)} s`);

  try {
    await loadAndCheck(stage, order, seed);
  } catch (error) {
    for (const node of cluster.nodes) t.diagnostic(`${node.name}: ${node.output().slice(-3000)}`);
    throw error;
  }
  for (const node of cluster.nodes) assert.equal(await node.stop(), 0, node.output());
  t.diagnostic(`all of it took ${seconds(begun)} s`);
}

async function loadAndCheck(
  stage: Stage,
  order: readonly EventName[],
  seed: number,
): Promise<void> {
  const { t, cluster, model, random } = stage;
  const begun = performance.now();
  let isOver = false;
  const load = clusterLoad({ cluster, model, random, isOver: () => isOver });
  try {
    for (const [index, name] of order.entries()) {
      await happen(stage, name);
      await createEverywhere(stage, `cluster/raced-${index}`);
    }
  } finally {
    isOver = true;
    await load;
  }
  t.diagnostic(`${seconds(begun)} s of load: ${figuresOf(stage)}`);
  const problems = [
    ...model.problems,
    ...lateVersions(model),
    ...(await checkCluster(cluster, model)),
  ];
  assert.deepEqual(
    problems.slice(0, problemsShown),
    [],
    `seed ${seed}: ${problems.length} problems`,
  );
}

function figuresOf({ model, honoured }: Stage): string {
  const commands = [...model.acknowledged.values()].filter(({ kind }) => kind === 'command').length;
  const errors = [...model.errors].map(([code, count]) => `${code} ${count}`).join(', ');
  return [
    `${model.answered} calls answered, ${commands} commands among them`,
    `${model.keys.size} keys, ${model.signatures.length} signatures, ${model.ciphertexts.length} ciphertexts`,
    `${model.certificates.size} certificates, ${model.tokens.size} tokens, ${model.checkpoints.size} checkpoints`,
    `failed: ${errors || 'none'}; ${model.retries} repeated, ${model.givenUp} commands given up`,
    `what was revoked was let in for ${Math.round(Math.max(0, ...honoured))} ms at most (a token and a certificate, ${honoured.length} times)`,
  ].join('; ');
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
