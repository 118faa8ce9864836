import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { type AddressInfo, Server as TcpServer } from 'node:net';
import type { Logger } from 'pino';
import { KeyreeveError } from '../base/errors.ts';

const closeSweepMilliseconds = 50;

type Server = HttpServer | HttpsServer;

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  readonly scheme: 'http' | 'https';
  /** The setting of the port, for the hint. */
  readonly setting: 'KEYREEVE_PORT' | 'KEYREEVE_HTTP_PORT';
  readonly log: Logger;
}

/** Listens. Error: `config-invalid` where the address cannot be had. */
export function listen(
  server: Server,
  options: ListenOptions,
): Promise<{ url: string; port: number }> {
  const { address, scheme, log } = options;
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => {
      const hint = listenHint(error.code, options.setting);
      reject(
        new KeyreeveError(
          'config-invalid',
          `The service cannot listen on ${address}, port ${options.port} (${error.code}).`,
          { cause: error, ...(hint === undefined ? {} : { hint }) },
        ),
      );
    };
    server.once('error', failed);
    server.listen(options.port, address, () => {
      server.removeListener('error', failed);
      server.on('error', (error) => log.error({ err: error }, 'the server failed'));
      const { port } = server.address() as AddressInfo;
      resolve({ port, url: `${scheme}://${urlHost(address)}:${port}` });
    });
  });
}

/**
 * Takes no new connection. Those that stand get the answers to what comes over them for a moment
 * more, so that nobody who sends a request just then loses it; then they are closed as they are
 * idle, and what takes too long is cut.
 */
export async function closeServer(
  server: Server,
  drainSeconds: number,
  timeoutSeconds: number,
): Promise<void> {
  // By the method of plain TCP servers: that of HTTP closes idle connections at once.
  const closed = new Promise<void>((resolve) => {
    TcpServer.prototype.close.call(server, () => resolve());
  });
  let sweep: NodeJS.Timeout | undefined;
  const drained = setTimeout(() => {
    server.closeIdleConnections();
    sweep = setInterval(() => server.closeIdleConnections(), closeSweepMilliseconds);
  }, drainSeconds * 1000);
  const cut = setTimeout(() => server.closeAllConnections(), timeoutSeconds * 1000);
  await closed;
  clearTimeout(drained);
  clearInterval(sweep);
  clearTimeout(cut);
  // It ends what the HTTP server itself still has running.
  server.close();
}

function listenHint(code: string | undefined, setting: string): string | undefined {
  if (code === 'EADDRINUSE') {
    const off = setting === 'KEYREEVE_HTTP_PORT' ? ' (off: no port)' : '';
    return `Another program listens there: stop it, or set ${setting}${off}.`;
  }
  if (code === 'EACCES') return `Ports below 1024 need a right of their own: set ${setting}.`;
  if (code === 'EADDRNOTAVAIL') return 'This machine has no such address: set KEYREEVE_LISTEN.';
  return undefined;
}

/** A host that a caller on this machine can use. */
function urlHost(address: string): string {
  if (address === '0.0.0.0' || address === '::') return 'localhost';
  return address.includes(':') ? `[${address}]` : address;
}
