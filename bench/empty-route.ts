// E: the service's own HTTP layer and access, TLS and token checks included, with a route behind
// them that does nothing. Prints what the service prints.
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { pino } from 'pino';
import { type RouteId, routes } from '../api/routes.ts';
import { createAccess, createLoginCode } from '../server/access/access.ts';
import { entryEncoder } from '../server/audit/audit.ts';
import { systemClock as clock } from '../server/base/clock.ts';
import { ensurePrivateFolder } from '../server/base/files.ts';
import type { Handlers } from '../server/base/handler.ts';
import { Commands } from '../server/commands/commands.ts';
import { createHttpServer } from '../server/http/http.ts';
import { certificateNames, openSystemTls } from '../server/pki/pki.ts';
import { openStorage } from '../server/storage/storage.ts';

const data = process.env.KEYREEVE_DATA!;
const log = pino({ level: 'warn' }, pino.destination(2));
// The folder is removed after the run and holds nothing but this.
const clear = {
  seal: (_: string, bytes: Uint8Array) => bytes,
  unseal: (_: string, bytes: Uint8Array) => bytes,
};

process.umask(0o077);
ensurePrivateFolder(data);
const storage = await openStorage({ dataFolder: data, clock, log, entryEncoder });
const caKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const tls = await openSystemTls({
  folder: join(data, 'tls'),
  caKey: async () => caKey,
  sealer: clear,
  names: certificateNames({ listen: '127.0.0.1', hostname: 'bench', configured: [] }),
  clock,
});
const loginCodeFile = join(data, 'login-code.json');
const { caFingerprint } = tls;
const access = createAccess({
  storage,
  clock,
  loginCodeFile,
  caFingerprint: () => caFingerprint,
  log,
});
const commands = new Commands({
  storage,
  clock,
  authorise: access.authorise,
  stillAllowed: (caller) => access.stillAllowed(caller),
  sealer: clear,
  requireClock: () => undefined,
});
const nothing = Object.keys(routes).map((id) => [id, async () => ({})]);
const http = await createHttpServer({
  handlers: {
    ...(Object.fromEntries(nothing) as Handlers<RouteId>),
    login: access.handlers(commands).login,
  },
  authenticate: (call) => access.authenticate(call),
  authorise: access.authorise,
  tls: tls.options,
  health: () => ({ live: true, ready: true, reasons: [] }),
  log,
  clock,
  version: 'bench',
});
await access.ready();
const { url } = await http.listen({ address: '127.0.0.1', port: 0 });
const code = createLoginCode({ file: loginCodeFile, caFingerprint, clock });
console.log(`ready ${url}`);
console.log(`first login: ${code}`);
process.on('SIGTERM', async () => {
  await http.close();
  await storage.close();
  process.exit(0);
});
