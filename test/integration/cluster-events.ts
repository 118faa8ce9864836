import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Cluster, ClusterNode } from './cluster.ts';
import { callers, insist, pause, sharedKey } from './cluster-load.ts';
import type { ClusterModel } from './cluster-model.ts';
import { type CredentialMaker, problemsOf, revoke, Witnesses } from './cluster-witness.ts';

const frozenMilliseconds = 6000;
const cutMilliseconds = 4000;
const downMilliseconds = 1000;
const standbyLostMilliseconds = 8000;
/** Load between two events, in which everything is whole. */
const calmMilliseconds = 1500;
/** A use that began before a rotation was answered may be answered with the old version so late. */
const oldVersionMillisecondsMax = 1150;

export interface Stage {
  readonly t: TestContext;
  readonly cluster: Cluster;
  readonly model: ClusterModel;
  readonly credentials: CredentialMaker;
  readonly random: () => number;
  /** How long nodes let in what was revoked, by event, in milliseconds. */
  readonly honoured: number[];
}

/** What happens in a round, in this order. */
export const events = {
  'everything whole': (stage) => withRevocations(stage, [], async () => undefined),
  'a node killed': async (stage) => {
    const node = anyNode(stage);
    await node.kill();
    await pause(downMilliseconds);
    await node.start();
  },
  'a node frozen': (stage) => {
    const node = anyNode(stage);
    return withRevocations(stage, [node], async (revokeAll) => {
      node.freeze();
      await pause(frozenMilliseconds / 4);
      await revokeAll();
      await pause((frozenMilliseconds * 3) / 4);
      const wokeAt = performance.now();
      node.wake();
      return { node, wokeAt };
    });
  },
  'a node cut off from the database': (stage) => {
    const node = anyNode(stage);
    return withRevocations(stage, [node], async (revokeAll) => {
      node.cut();
      await revokeAll();
      await pause(cutMilliseconds);
      node.heal();
      return undefined;
    });
  },
  'a node restarted as for an upgrade': async (stage) => {
    const node = anyNode(stage);
    assert.equal(await node.stop(), 0, node.output());
    await node.start();
  },
  'the primary killed and the standby promoted': async ({ cluster: { databases } }) => {
    await databases.stop(databases.primary, 'immediate');
    await pause(downMilliseconds);
    await databases.promote();
  },
  'the old primary made a standby': ({ cluster: { databases } }) => databases.rejoin(),
  'the standby lost for a while': async ({ cluster: { databases } }) => {
    const standby = databases.primary === 'db1' ? 'db2' : 'db1';
    await databases.stop(standby, 'immediate');
    await pause(standbyLostMilliseconds);
    await databases.start(standby);
  },
} as const satisfies Readonly<Record<string, (stage: Stage) => Promise<void>>>;

export type EventName = keyof typeof events;

/** One event under load, then a while in which all is whole; says how the service was meanwhile. */
export async function happen(stage: Stage, name: EventName): Promise<void> {
  const { t, model, cluster } = stage;
  const from = performance.now();
  const before = model.answered;
  const errors = sumOf(model);
  await events[name](stage);
  const done = performance.now();
  await pause(calmMilliseconds);
  const to = performance.now();
  const gap = (isMeant: Parameters<ClusterModel['longestGap']>[2]) =>
    model.longestGap(from, to, isMeant);
  const ways = cluster.balancers.map(({ kind }, index) => {
    const theirs = Array.from({ length: callers }, (_, number) => number).filter(
      (number) => number % cluster.balancers.length === index,
    );
    return `${kind} ${Math.max(...theirs.map((number) => gap(({ caller }) => caller === number)))}`;
  });
  const uses = gap(({ kind }) => kind === 'use');
  const commands = gap(({ kind }) => kind === 'command');
  t.diagnostic(
    `${name}: ${Math.round(done - from)} ms; without an answer at most: for uses ${uses} ms, for commands ${commands} ms, to one caller through ${ways.join(', ')} ms; ${model.answered - before} answered, ${sumOf(model) - errors} failed`,
  );
  model.seeCheckpoint(await checkpointOf(cluster, model));
}

/**
 * Revokes a token and a certificate and rotates the shared key in the midst of an event, while
 * witnesses ask every node with both.
 */
async function withRevocations(
  { cluster, model, credentials, honoured }: Stage,
  away: readonly ClusterNode[],
  event: (revokeAll: () => Promise<void>) => Promise<Parameters<typeof problemsOf>[1]>,
): Promise<void> {
  const living = cluster.nodes.filter((node) => !away.includes(node));
  const made = [await credentials.token(), await credentials.certificate()];
  const watched = made.map((credential) => ({
    credential,
    witnesses: new Witnesses(cluster, credential),
    at: 0,
  }));
  await Promise.all(watched.map(({ witnesses }) => witnesses.begin()));
  const revokeAll = async () => {
    await Promise.all([
      rotateEverywhere(cluster, model, living),
      ...watched.map(async (one, index) => {
        const client = cluster.client(living[index % living.length]!.url);
        one.at = await revoke(client, one.credential);
      }),
    ]);
  };
  const frozen = await event(revokeAll);
  if (watched.some(({ at }) => at === 0)) await revokeAll();
  const seen = await Promise.all(watched.map(({ witnesses, at }) => witnesses.end(at)));
  const { problems, longest } = problemsOf(seen.flat(), frozen);
  model.problems.push(...problems);
  honoured.push(longest);
}

/** Callers at all living nodes who saw the same version rotate at once: that makes one version. */
async function rotateEverywhere(
  cluster: Cluster,
  model: ClusterModel,
  nodes: readonly ClusterNode[],
): Promise<void> {
  const params = { key: sharedKey };
  const clients = nodes.map((node) => cluster.client(node.url));
  const sawVersion = (await insist(clients[0]!, 'key.show', { params })).currentVersion!;
  const views = await Promise.all(
    clients.map((client) => insist(client, 'key.rotate', { params, body: { sawVersion } })),
  );
  const version = sawVersion + 1;
  model.sharedRotations.push({ at: performance.now(), version });
  for (const view of views) {
    if (view.currentVersion === version) continue;
    model.problems.push(`rotations of version ${sawVersion} made version ${view.currentVersion}`);
  }
}

/** Callers at all nodes make a key of one name at once: that makes one key. */
export async function createEverywhere({ cluster, model }: Stage, name: string): Promise<void> {
  const body = { name, algorithm: 'p-256', purpose: 'sign' } as const;
  const made = await Promise.allSettled(
    cluster.nodes.map((node) => insist(cluster.client(node.url), 'key.create', { body })),
  );
  const views = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  if (views.length !== 1) model.problems.push(`${name} was made ${views.length} times`);
  for (const one of made) {
    if (one.status === 'rejected' && one.reason.code !== 'already-exists') {
      model.fail(one.reason.code);
    }
  }
  for (const view of views) {
    const versions = new Map([[1, view.versions[0]!.fingerprint]]);
    model.keys.set(name, { name, purpose: 'sign', versions, isOpen: false });
  }
}

/** Old versions that signed after everybody should have known of the new one. */
export function lateVersions({ sharedUses, sharedRotations }: ClusterModel): string[] {
  return sharedRotations.flatMap(({ at, version }) =>
    sharedUses
      .filter((use) => use.version < version && use.at > at + oldVersionMillisecondsMax)
      .map((use) => `version ${use.version} signed ${Math.round(use.at - at)} ms after ${version}`),
  );
}

async function checkpointOf(cluster: Cluster, model: ClusterModel): Promise<string> {
  const node = cluster.nodes[model.checkpoints.size % cluster.nodes.length]!;
  return (await insist(cluster.client(node.url), 'audit.checkpoint', {})).checkpoint;
}

function anyNode({ cluster, random }: Stage): ClusterNode {
  return cluster.nodes[Math.floor(random() * cluster.nodes.length)]!;
}

function sumOf({ errors }: ClusterModel): number {
  return [...errors.values()].reduce((sum, count) => sum + count, 0);
}
