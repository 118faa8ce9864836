// The load generator, as a process of its own: told by messages what to send, where and how long.
import { Connection, type RawAnswer } from './connection.ts';
import { LatencyCounts } from './latency.ts';

export interface LoadOrder {
  readonly port: number;
  readonly ca: string;
  /** Sent in turn; each connection waits for its answer before it sends the next. */
  readonly requests: readonly Uint8Array[];
  readonly connections: number;
  /** Before counting begins. */
  readonly warmMilliseconds: number;
  readonly measureMilliseconds: number;
}

export interface LoadOutcome {
  readonly answers: number;
  readonly seconds: number;
  readonly latencies: readonly number[];
  /** Processor time of the client while it counted. */
  readonly clientCpuSeconds: number;
  /** One answer in full, to be checked. */
  readonly sample: string;
}

export type LoadReply =
  | { readonly kind: 'counting' }
  | { readonly kind: 'done'; readonly outcome: LoadOutcome }
  | { readonly kind: 'failed'; readonly message: string };

async function run(order: LoadOrder): Promise<LoadOutcome> {
  const connections = await Promise.all(
    Array.from({ length: order.connections }, () => Connection.open(order.port, order.ca)),
  );
  try {
    return await drive(order, connections);
  } finally {
    for (const connection of connections) connection.close();
  }
}

function drive(order: LoadOrder, connections: readonly Connection[]): Promise<LoadOutcome> {
  const requests = order.requests.map((bytes) => Buffer.from(bytes));
  const countFrom = performance.now() + order.warmMilliseconds;
  const countUntil = countFrom + order.measureMilliseconds;
  const latencies = new LatencyCounts();
  let isCounting = false;
  let cpu = process.cpuUsage();
  let answers = 0;
  let turn = 0;
  let busy = connections.length;
  let sample = '';
  return new Promise((resolve, reject) => {
    const startCounting = setTimeout(() => {
      isCounting = true;
      cpu = process.cpuUsage();
      reply({ kind: 'counting' });
    }, order.warmMilliseconds);
    const finish = (seconds: number) => {
      const { user, system } = process.cpuUsage(cpu);
      const clientCpuSeconds = (user + system) / 1_000_000;
      resolve({ answers, seconds, latencies: latencies.toJSON(), clientCpuSeconds, sample });
    };
    const failed = (error: Error) => {
      clearTimeout(startCounting);
      reject(error);
    };
    const next = (connection: Connection) => {
      const startedAt = performance.now();
      const answered = (answer: RawAnswer) => {
        const now = performance.now();
        if (answer.status !== 200 && answer.status !== 201) {
          failed(new Error(`${answer.status}: ${answer.body.toString('utf8').slice(0, 500)}`));
          return;
        }
        if (isCounting && now < countUntil) {
          answers += 1;
          latencies.add(now - startedAt);
        }
        if (now < countUntil) {
          next(connection);
          return;
        }
        if (sample === '') sample = answer.body.toString('utf8');
        busy -= 1;
        if (busy === 0) finish(order.measureMilliseconds / 1000);
      };
      connection.send(requests[turn++ % requests.length]!, answered, failed);
    };
    for (const connection of connections) next(connection);
  });
}

function reply(message: LoadReply): void {
  process.send?.(message);
}

process.on('message', (order: LoadOrder) => {
  run(order).then(
    (outcome) => reply({ kind: 'done', outcome }),
    (error: unknown) => reply({ kind: 'failed', message: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
