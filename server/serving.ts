import { join } from 'node:path';
import type { Logger } from 'pino';
import { createLoginCode } from './access/access.ts';
import type { Clock } from './base/clock.ts';
import type { ClockGuard } from './base/clock-guard.ts';
import type { Config } from './config/config.ts';
import { createPublicFileServer } from './http/http.ts';
import type { Pki, SystemTls } from './pki/pki.ts';
import type { Storage } from './storage/storage.ts';

export interface PublicFileListener {
  readonly url: string;
  close(): Promise<void>;
}

/** Plain HTTP, for what CAs tell the world; nothing where it is off. */
export async function servePublicFiles(
  config: Config,
  pki: Pki,
  clock: Clock,
  log: Logger,
): Promise<PublicFileListener | undefined> {
  if (config.httpPort === undefined) return undefined;
  const server = createPublicFileServer({ files: (path) => pki.file(path), clock, log });
  const { url } = await server.listen({ address: config.listen, port: config.httpPort });
  return { url, close: () => server.close() };
}

/** Readiness is shown to anybody: it names no paths. `status` says more to those who may know. */
export function healthOf(storage: Storage, guard: ClockGuard) {
  const isDatabaseReady = storage.health().ready;
  const reasons = [
    ...(isDatabaseReady ? [] : ['The database does not answer.']),
    ...(guard.isUnsafe ? ['The clock cannot be trusted.'] : []),
  ];
  return { live: true, ready: reasons.length === 0, reasons };
}

/** Until somebody has logged in, every start offers a fresh code. */
export async function firstLoginCode(
  config: Config,
  storage: Storage,
  tls: SystemTls,
  clock: Clock,
): Promise<string | undefined> {
  const somebody = await storage.db
    .selectFrom('principal')
    .select('id')
    .limit(1)
    .executeTakeFirst();
  if (somebody !== undefined) return undefined;
  return createLoginCode({
    file: join(config.data, 'login-code.json'),
    caFingerprint: tls.caFingerprint,
    clock,
  });
}

/** One after the other: what fails keeps nothing after it open. Rejects with the first failure. */
export async function stopAll(stops: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const stop of stops) await stop().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}
