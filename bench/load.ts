/** The parent's side of the load generator. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { addCounts, percentile } from './latency.ts';
import type { LoadOrder, LoadOutcome, LoadReply } from './load-process.ts';
import { cpuSecondsOf } from './machine.ts';

const graceMilliseconds = 15_000;

export interface LoadResult {
  readonly callsPerSecond: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  /** Processor time of one call in the process measured; undefined where it cannot be known. */
  readonly serverCpuMicroseconds: number | undefined;
  readonly clientCpuMicroseconds: number;
  /** One answer, as text. */
  readonly sample: string;
}

/** Client processes that live for the whole run. */
export class LoadGenerator {
  readonly #children: readonly ChildProcess[];

  constructor(processes: number) {
    const program = join(import.meta.dirname, 'load-process.ts');
    this.#children = Array.from({ length: processes }, () =>
      fork(program, { serialization: 'advanced' }),
    );
  }

  /** Runs an order, its connections shared out; rejects if any answer was not 200. */
  async run(order: LoadOrder, serverPid: number): Promise<LoadResult> {
    const each = Math.max(1, Math.round(order.connections / this.#children.length));
    let cpuBefore: number | undefined;
    const counting = () => {
      cpuBefore ??= cpuSecondsOf(serverPid);
    };
    const outcomes = await Promise.all(
      this.#children.map((child) => runIn(child, { ...order, connections: each }, counting)),
    );
    const cpuAfter = cpuSecondsOf(serverPid);
    const answers = outcomes.reduce((sum, outcome) => sum + outcome.answers, 0);
    const clientCpu = outcomes.reduce((sum, outcome) => sum + outcome.clientCpuSeconds, 0);
    const latencies = addCounts(outcomes.map((outcome) => outcome.latencies));
    return {
      callsPerSecond: answers / outcomes[0]!.seconds,
      p50Milliseconds: percentile(latencies, 0.5),
      p99Milliseconds: percentile(latencies, 0.99),
      serverCpuMicroseconds:
        cpuBefore === undefined || cpuAfter === undefined
          ? undefined
          : ((cpuAfter - cpuBefore) / answers) * 1_000_000,
      clientCpuMicroseconds: (clientCpu / answers) * 1_000_000,
      sample: outcomes[0]!.sample,
    };
  }

  close(): void {
    for (const child of this.#children) child.disconnect();
  }
}

function runIn(child: ChildProcess, order: LoadOrder, counting: () => void): Promise<LoadOutcome> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => settle(() => reject(new Error('the load generator did not come back'))),
      order.warmMilliseconds + order.measureMilliseconds + graceMilliseconds,
    );
    const settle = (then: () => void) => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      then();
    };
    const onExit = () => settle(() => reject(new Error('the load generator ended')));
    const onMessage = (reply: LoadReply) => {
      if (reply.kind === 'counting') counting();
      else if (reply.kind === 'done') settle(() => resolve(reply.outcome));
      else settle(() => reject(new Error(reply.message)));
    };
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.send(order);
  });
}
