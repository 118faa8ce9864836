/**
 * What worker processes could win at most: two services that share nothing, not even the record,
 * against one of them, with as many connections in all.
 */
import { join } from 'node:path';
import { prepareCalls, type Requests } from './calls.ts';
import { LoadGenerator, type LoadResult } from './load.ts';
import { median } from './machine.ts';
import { type Bench, warmMilliseconds } from './measure.ts';
import { primitives } from './primitives.ts';
import { logIn, type StartedService, startProcess } from './service-process.ts';

const connectionsOfEach = 64;

export interface SideBySideRow {
  readonly title: string;
  readonly onePerSecond: number;
  readonly twoPerSecond: number;
  /** Two through one, in the same round. */
  readonly ratio: number;
}

export async function measureSideBySide(
  bench: Bench,
  folder: string,
  onStarted: (service: { stop(): Promise<void> }) => void,
): Promise<SideBySideRow> {
  const primitive = primitives.find(({ algorithm }) => algorithm === 'p-256')!;
  const loads = [new LoadGenerator(1), new LoadGenerator(1)];
  onStarted({ stop: async () => loads.forEach((load) => void load.close()) });
  const services: Requests[] = [];
  for (const name of ['one', 'two']) {
    const service: StartedService = await startProcess(join(folder, name, 'data'));
    onStarted(service);
    const target = { service, login: await logIn(service) };
    services.push((await prepareCalls(target, primitive)).single);
  }
  const both = (milliseconds: number) =>
    Promise.all(
      services.map((requests, index) =>
        run(loads[index]!, requests, connectionsOfEach, milliseconds),
      ),
    );
  bench.say('one service and two side by side');
  await both(bench.effort.keysWarmMilliseconds);
  const rounds: { one: number; two: number }[] = [];
  for (let round = 0; round < bench.effort.rounds; round++) {
    const { measureMilliseconds } = bench.effort;
    const requests = services[round % services.length]!;
    const one = await run(loads[0]!, requests, 2 * connectionsOfEach, measureMilliseconds);
    const two = await both(measureMilliseconds);
    const sum = two.reduce((total, { callsPerSecond }) => total + callsPerSecond, 0);
    rounds.push({ one: one.callsPerSecond, two: sum });
  }
  return {
    title: primitive.title,
    onePerSecond: median(rounds.map(({ one }) => one)),
    twoPerSecond: median(rounds.map(({ two }) => two)),
    ratio: median(rounds.map(({ one, two }) => two / one)),
  };
}

function run(
  load: LoadGenerator,
  { target: { service, login }, list }: Requests,
  connections: number,
  measureMilliseconds: number,
): Promise<LoadResult> {
  const order = { port: service.port, ca: login.ca, requests: list, connections };
  return load.run({ ...order, warmMilliseconds, measureMilliseconds }, service.pid);
}
