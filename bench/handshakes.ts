/** What a new connection costs, with a session to take up again and without. */
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { emptyRequests, type Target } from './calls.ts';
import { cpuSecondsOf } from './machine.ts';
import type { Bench } from './measure.ts';

const connectionsAtOnce = 8;

export interface HandshakeRow {
  readonly fresh: HandshakeFigures;
  readonly resumed: HandshakeFigures;
}

export interface HandshakeFigures {
  /** Connections a second, each with one call. */
  readonly perSecond: number;
  readonly serverCpuMicroseconds: number | undefined;
}

/** One call of the empty route for each connection; a resumed one must say that it is. */
export async function measureHandshakes({ empty, effort, say }: Bench): Promise<HandshakeRow> {
  say('new connections');
  const session = await sessionOf(empty);
  await many(empty, effort.probeMilliseconds, undefined);
  return {
    fresh: await many(empty, effort.measureMilliseconds, undefined),
    resumed: await many(empty, effort.measureMilliseconds, session),
  };
}

async function many(
  target: Target,
  milliseconds: number,
  session: Buffer | undefined,
): Promise<HandshakeFigures> {
  const { pid } = target.service;
  const cpuBefore = cpuSecondsOf(pid);
  const startedAt = performance.now();
  let made = 0;
  const loop = async (): Promise<void> => {
    while (performance.now() - startedAt < milliseconds) {
      const socket = await callOnce(target, session);
      if (socket.isSessionReused() !== (session !== undefined)) {
        throw new Error('a session was taken up where none was, or the reverse');
      }
      socket.destroy();
      made += 1;
    }
  };
  await Promise.all(Array.from({ length: connectionsAtOnce }, loop));
  const cpuAfter = cpuSecondsOf(pid);
  const isKnown = cpuBefore !== undefined && cpuAfter !== undefined;
  return {
    perSecond: made / ((performance.now() - startedAt) / 1000),
    serverCpuMicroseconds: isKnown ? ((cpuAfter - cpuBefore) / made) * 1_000_000 : undefined,
  };
}

/** What the service gives a client to come back with: after the first bytes that are read. */
async function sessionOf(target: Target): Promise<Buffer> {
  const socket = open(target, undefined);
  const got = once(socket, 'session') as Promise<[Buffer]>;
  await call(socket, target);
  const [session] = await got;
  socket.destroy();
  return session;
}

async function callOnce(target: Target, session: Buffer | undefined): Promise<TLSSocket> {
  const socket = open(target, session);
  await call(socket, target);
  return socket;
}

function open({ service, login }: Target, session: Buffer | undefined): TLSSocket {
  return connect({
    ...{ host: '127.0.0.1', port: service.port, ca: login.ca, minVersion: 'TLSv1.3' },
    ...(session === undefined ? {} : { session }),
  });
}

async function call(socket: TLSSocket, target: Target): Promise<void> {
  socket.write(emptyRequests(target).list[0]!);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (!answer.toString('latin1').startsWith('HTTP/1.1 200')) {
    throw new Error('a new connection was not answered by 200');
  }
}
