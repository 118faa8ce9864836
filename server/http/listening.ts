import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
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

/** Connections end as their last answer has left; what takes too long is cut. */
export async function closeServer(server: Server, timeoutSeconds: number): Promise<void> {
  const sweep = setInterval(() => server.closeIdleConnections(), closeSweepMilliseconds);
  const cut = setTimeout(() => server.closeAllConnections(), timeoutSeconds * 1000);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearInterval(sweep);
  clearTimeout(cut);
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
