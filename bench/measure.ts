/** One row after the other, with everything that it is compared with in the same minute. */
import { emptyRequests, prepareCalls, type Requests, type Target } from './calls.ts';
import type { LoadGenerator, LoadResult } from './load.ts';
import { median } from './machine.ts';
import { opensslSpeed } from './openssl-speed.ts';
import { batchItems, type Primitive } from './primitives.ts';

/** How long and with how many connections to measure. */
export interface Effort {
  readonly rounds: number;
  readonly measureMilliseconds: number;
  readonly opensslSeconds: number;
  readonly probeMilliseconds: number;
  /** Load before certificates are counted. */
  readonly issuingWarmMilliseconds: number;
  /** Keys of the larger of the two installations that are compared, and load before they are. */
  readonly manyKeys: number;
  readonly keysWarmMilliseconds: number;
  readonly singleConnections: readonly number[];
  readonly batchConnections: readonly number[];
}

export const fullEffort: Effort = {
  rounds: 3,
  measureMilliseconds: 2500,
  opensslSeconds: 1,
  probeMilliseconds: 1000,
  issuingWarmMilliseconds: 10_000,
  manyKeys: 1_000_000,
  keysWarmMilliseconds: 5000,
  singleConnections: [16, 64, 256],
  batchConnections: [2, 8, 32],
};

/** Shows that everything works; its figures are worth little. */
export const quickEffort: Effort = {
  rounds: 1,
  measureMilliseconds: 1000,
  opensslSeconds: 1,
  probeMilliseconds: 500,
  issuingWarmMilliseconds: 500,
  manyKeys: 20_000,
  keysWarmMilliseconds: 500,
  singleConnections: [64],
  batchConnections: [8],
};

export const warmMilliseconds = 300;
const placementTimeoutMilliseconds = 30_000;

export interface Bench {
  readonly service: Target;
  readonly empty: Target;
  readonly load: LoadGenerator;
  readonly cores: number;
  readonly effort: Effort;
  readonly say: (text: string) => void;
  /** Found by the first row and used by all. */
  emptyConnections?: number;
}

export interface CallRow {
  /** Items a second: calls, times fifty where they are batches. */
  readonly itemsPerSecond: number;
  readonly connections: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  readonly serverCpuMicrosecondsPerItem: number | undefined;
  /** What the target compares with: 1/(1/R + 1/E) for single calls, R for batches. */
  readonly yardstick: number;
  readonly ratio: number;
}

export interface PrimitiveRow {
  readonly title: string;
  readonly scheme: string;
  readonly opensslPerSecond: number;
  readonly emptyPerSecond: number;
  readonly emptyCpuMicroseconds: number | undefined;
  readonly single: CallRow;
  readonly batch: CallRow;
  readonly record: Placement;
}

/** Whether the record keeps up with what is used. */
export interface Placement {
  /** Entries that waited for their place when the last single calls were answered. */
  readonly tailEntries: number;
  /** Until all had one. */
  readonly drainSeconds: number;
}

interface Round {
  readonly openssl: number;
  readonly empty: LoadResult;
  readonly single: LoadResult;
  readonly batch: LoadResult;
}

/** Measures one primitive: a probe for the best number of connections, then rounds. */
export async function measurePrimitive(bench: Bench, primitive: Primitive): Promise<PrimitiveRow> {
  const { effort, say } = bench;
  say(`${primitive.title}: how many connections`);
  const { single, batch, check } = await prepareCalls(bench.service, primitive);
  const empty = emptyRequests(bench.empty);
  bench.emptyConnections ??= await best(bench, empty, effort.singleConnections);
  const connections = {
    empty: bench.emptyConnections,
    single: await best(bench, single, effort.singleConnections),
    batch: await best(bench, batch, effort.batchConnections),
  };
  const rounds: Round[] = [];
  const placements: Placement[] = [];
  for (let round = 1; round <= effort.rounds; round++) {
    say(`${primitive.title}: round ${round} of ${effort.rounds}`);
    await placed(bench);
    const openssl = await opensslSpeed(primitive, bench.cores, effort.opensslSeconds);
    const emptyResult = await measure(bench, empty, connections.empty);
    const singleResult = await measure(bench, single, connections.single);
    placements.push(await placed(bench));
    const batchResult = await measure(bench, batch, connections.batch);
    await check(singleResult, batchResult);
    rounds.push({ openssl, empty: emptyResult, single: singleResult, batch: batchResult });
  }
  return {
    title: primitive.title,
    scheme: primitive.scheme,
    opensslPerSecond: median(rounds.map(({ openssl }) => openssl)),
    emptyPerSecond: median(rounds.map((round) => round.empty.callsPerSecond)),
    emptyCpuMicroseconds: medianIfKnown(rounds.map((round) => round.empty.serverCpuMicroseconds)),
    single: callRow(rounds, 'single', 1, connections.single, harmonic),
    batch: callRow(rounds, 'batch', batchItems, connections.batch, ({ openssl }) => openssl),
    record: placements.reduce((a, b) => (a.tailEntries > b.tailEntries ? a : b)),
  };
}

function harmonic({ openssl, empty }: Round): number {
  return 1 / (1 / openssl + 1 / empty.callsPerSecond);
}

/** Medians over the rounds; each ratio compares figures of one round. */
function callRow(
  rounds: readonly Round[],
  kind: 'single' | 'batch',
  items: number,
  connections: number,
  yardstickOf: (round: Round) => number,
): CallRow {
  const middle = (figure: (result: LoadResult) => number) =>
    median(rounds.map((round) => figure(round[kind])));
  return {
    itemsPerSecond: middle((result) => result.callsPerSecond) * items,
    connections,
    p50Milliseconds: middle((result) => result.p50Milliseconds),
    p99Milliseconds: middle((result) => result.p99Milliseconds),
    serverCpuMicrosecondsPerItem: medianIfKnown(
      rounds.map(({ [kind]: { serverCpuMicroseconds: cpu } }) =>
        cpu === undefined ? cpu : cpu / items,
      ),
    ),
    yardstick: median(rounds.map(yardstickOf)),
    ratio: median(rounds.map((round) => (round[kind].callsPerSecond * items) / yardstickOf(round))),
  };
}

function medianIfKnown(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length < values.length ? undefined : median(known);
}

/** The number of connections with the highest rate, in short trials. */
export async function best(
  bench: Bench,
  requests: Requests,
  choices: readonly number[],
): Promise<number> {
  let found = { connections: choices[0]!, rate: 0 };
  if (choices.length === 1) return found.connections;
  for (const connections of choices) {
    const result = await measure(bench, requests, connections, bench.effort.probeMilliseconds);
    if (result.callsPerSecond > found.rate) found = { connections, rate: result.callsPerSecond };
  }
  return found.connections;
}

export function measure(
  bench: Bench,
  { target, list }: Requests,
  connections: number,
  measureMilliseconds = bench.effort.measureMilliseconds,
): Promise<LoadResult> {
  const { service, login } = target;
  return bench.load.run(
    {
      port: service.port,
      ca: login.ca,
      requests: list,
      connections,
      warmMilliseconds,
      measureMilliseconds,
    },
    service.pid,
  );
}

/** Waits until every entry has its place, so that no row pays for the one before. */
export async function placed({ service }: Bench): Promise<Placement> {
  const startedAt = performance.now();
  const waiting = async () => (await service.login.client.call('status')).record.waiting;
  const tailEntries = await waiting();
  for (let left = tailEntries; left > 0; left = await waiting()) {
    if (performance.now() - startedAt > placementTimeoutMilliseconds) {
      throw new Error(`${left} entries of the record got no place in time`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { tailEntries, drainSeconds: (performance.now() - startedAt) / 1000 };
}
