import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { isHardware } from '../api/storage-classes.ts';
import { createAccess } from './access/access.ts';
import { createRecord, entryEncoder } from './audit/audit.ts';
import { type Clock, systemClock } from './base/clock.ts';
import { ClockGuard, requireClockAfter } from './base/clock-guard.ts';
import { ensurePrivateFolder } from './base/files.ts';
import { version } from './base/version.ts';
import { Commands } from './commands/commands.ts';
import type { Config } from './config/config.ts';
import { requireLocalKey } from './crypto/crypto.ts';
import { openHardware, requireModuleOf } from './hardware/hardware.ts';
import { createHttpServer, type HttpLimits } from './http/http.ts';
import {
  createAuditHandlers,
  createStatusHandler,
  ServiceMetrics,
} from './inspection/inspection.ts';
import { createKeyHandlers, createUse, Keys, settleIntents } from './keys/keys.ts';
import { secretSealer } from './keystores/keystores.ts';
import {
  isSameDisk,
  modulePlaces,
  newestTime,
  openInstallation,
  openKeystores,
  openRootKeys,
  seedCurrentKey,
  withTrustedClock,
} from './opening.ts';
import {
  certificateNames,
  createPki,
  destructionGuards,
  openSystemTls,
  type SystemTls,
} from './pki/pki.ts';
import { createBackups, createRootKeyMoves } from './recovery/recovery.ts';
import { startRepeating } from './repeating.ts';
import { firstLoginCode, healthOf, type PublicFileListener, servePublicFiles } from './serving.ts';
import { openStorage } from './storage/storage.ts';

/** The name of the key of the CA behind the service's own HTTPS. */
const tlsKeyName = 'system/tls';

export interface ServiceOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly limits?: Partial<HttpLimits>;
  /** Holds every answer against its schema: for tests. */
  readonly checkAnswers?: boolean;
  /** How often the service's own certificate is looked at (3600): for tests. */
  readonly renewalSeconds?: number;
  /** Told what is being done, for people who wait. */
  readonly progress?: (text: string) => void;
}

export interface Service {
  readonly url: string;
  /** Where public files are served by plain HTTP; undefined where that is off. */
  readonly httpUrl: string | undefined;
  /** A code for the first login, where nobody has logged in yet. */
  readonly firstLoginCode: string | undefined;
  readonly caPem: string;
  readonly installationId: string;
  stop(): Promise<void>;
}

/**
 * Starts the service: the one place where its parts are wired together. Opened in this order, each
 * resting on those before: storage, root key, keystores, access, keys, record, certificates, TLS,
 * HTTP.
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  const started: (() => Promise<unknown>)[] = [];
  try {
    return await wire(options, (stop) => started.push(stop));
  } catch (error) {
    for (const stop of started.reverse()) await stop().catch(() => undefined);
    throw error;
  }
}

async function wire(
  options: ServiceOptions,
  onStarted: (stop: () => Promise<unknown>) => void,
): Promise<Service> {
  const { config, log } = options;
  const clock = options.clock ?? systemClock;
  const progress = options.progress ?? (() => undefined);
  const guard = new ClockGuard(clock);

  // 1. Storage: the lock that refuses a second start is taken here.
  ensurePrivateFolder(config.data);
  const opened = await openStorage({
    dataFolder: config.data,
    ...(config.databaseUrl === undefined
      ? {}
      : { databaseUrl: config.databaseUrl.reveal().toString('utf8') }),
    clock,
    entryEncoder,
    log,
  });
  onStarted(() => opened.close());
  const storage = withTrustedClock(opened, guard);
  requireClockAfter(clock, await newestTime(storage));

  // 2. The root key, and the keystores below it.
  const opening = await openRootKeys(config, storage, { log, clock, progress });
  const { rootKeys, surroundings, storeKeys } = opening;
  onStarted(() => rootKeys.close());
  const keystores = openKeystores(config, storeKeys);
  const places = modulePlaces(config);
  const hardware = await openHardware({ storage, keystores, clock, log, places });
  onStarted(() => hardware.stop());
  const installationId = await openInstallation(storage);

  // 3. Access, commands and keys.
  let tls: SystemTls | undefined;
  const access = createAccess({
    storage,
    clock,
    loginCodeFile: join(config.data, 'login-code.json'),
    caFingerprint: () => tls!.caFingerprint,
    log,
  });
  const { authorise } = access;
  const commands = new Commands({
    storage,
    clock,
    authorise,
    stillAllowed: (caller) => access.stillAllowed(caller),
    sealer: storeKeys,
    requireClock: () => guard.require(),
  });
  const keys = new Keys({
    storage,
    keystores,
    clock,
    authorise,
    principalId: (reference) => access.principalId(reference),
    storageTable: config.storageTable,
    destructionGuards: destructionGuards(storage),
  });

  // 4. The record, then what a crash left half done.
  const record = createRecord({
    storage,
    clock,
    installationId,
    // The lifetime lock lets one process in: its next life takes the lease over at once.
    holder: installationId,
    sealer: secretSealer(storeKeys),
    checkpointFolder: config.checkpoints,
    archives: [config.archive],
  });
  await record.start();
  onStarted(() => record.stop());
  // Tokens may be away, and nobody waits for them: see below.
  await settleIntents(keys, { among: ({ kind }) => !isHardware(kind) });
  await seedCurrentKey(config, keys, log);
  const backups = createBackups({
    storage,
    clock,
    installationId,
    rootKeys,
    record,
    keyFilesFolder: config.fileKeystore?.folder,
    temporaryFolder: join(config.data, 'tmp'),
  });
  await backups.settle();
  const rootKeyMoves = createRootKeyMoves({
    ...{ storage, clock, rootKeys, surroundings },
    allowKeystore: (uri) => requireModuleOf(uri, places),
    dataFolder: config.data,
    checkpoints: config.checkpoints,
  });
  await rootKeyMoves.settle();

  // 5. Certificates, and TLS of our own.
  const pki = createPki({
    ...{ storage, keys, clock, log },
    isClockUnsafe: () => guard.isUnsafe,
    baseUrl: config.pkiUrl,
  });
  onStarted(() => pki.stop());
  await pki.settle();
  tls = await openSystemTls({
    folder: join(config.data, 'tls'),
    caKey: async () => {
      const { privateKey } = await keys.systemKey(tlsKeyName, 'p-256', 'ca');
      return requireLocalKey(privateKey, 'serve TLS');
    },
    sealer: storeKeys,
    names: certificateNames({
      listen: config.listen,
      hostname: hostname(),
      configured: config.tlsNames,
    }),
    clock,
  });

  // 6. HTTP, with the handlers of every feature.
  const startedAt = clock.now();
  let publicFiles: PublicFileListener | undefined;
  const metrics = new ServiceMetrics(storage);
  const http = await createHttpServer({
    handlers: {
      ...createKeyHandlers(keys, commands),
      ...createUse({
        keys,
        clock,
        recheck: (...asked) => access.recheck(...asked),
        requireClock: () => guard.require(),
        onUse: (...use) => metrics.countUse(...use),
      }),
      ...access.handlers(commands),
      ...pki.handlers(commands),
      ...createAuditHandlers({
        record,
        commands,
        authorise,
        keyId: async (reference) => (await keys.store.find(reference))?.id,
        principalId: (reference) => access.principalId(reference),
        archiveFolder: config.archive,
      }),
      ...hardware.handlers(authorise, commands),
      ...backups.handlers(commands),
      ...rootKeyMoves.handlers(commands),
      ...createStatusHandler({
        version: version(),
        installationId,
        startedAt,
        storage,
        keystores,
        keys,
        rootKey: () => rootKeys.inForce(storage),
        isSameDisk: (folder) => isSameDisk(folder, config.data),
        record,
        tlsExpiresAt: () => tls.expiresAt,
        certificates: () => pki.status(publicFiles?.url),
        authorise,
        clock,
      }),
    },
    authenticate: (call) => access.authenticate(call),
    authorise,
    tls: tls.options,
    health: () => healthOf(storage, guard),
    metrics: async () => [
      ...(await metrics.samples()),
      ...(await pki.samples()),
      ...hardware.samples(),
    ],
    log,
    clock,
    version: version(),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    checkAnswers: options.checkAnswers ?? false,
  });
  onStarted(() => http.close());
  await access.ready();
  const { url } = await http.listen({ address: config.listen, port: config.port });

  await access.followClientAuthorities((clientAuthorities) =>
    http.reloadTls({ clientAuthorities }),
  );
  publicFiles = await servePublicFiles(config, pki, clock, log);
  onStarted(async () => publicFiles?.close());

  // 7. What repeats. What a crash left in a token is settled when the token answers.
  hardware.watch((keystore) =>
    settleIntents(keys, { among: (one) => one === keystore, before: startedAt }),
  );
  const repeating = startRepeating({
    ...{ storage, storeKeys, clock, guard, log, keys, access, commands, pki, tls },
    checkpoints: config.checkpoints,
    reloadTls: () => http.reloadTls({ tls: tls.options }),
    ...(options.renewalSeconds === undefined ? {} : { renewalSeconds: options.renewalSeconds }),
  });
  onStarted(() => repeating.stop());

  return {
    url,
    httpUrl: publicFiles?.url,
    caPem: tls.caPem,
    installationId,
    firstLoginCode: await firstLoginCode(config, storage, tls, clock),
    // What was begun last is ended first: no request loses its storage.
    stop: async () => {
      await Promise.all([http.close(), publicFiles?.close()]);
      await repeating.stop();
      await pki.stop();
      await hardware.stop();
      await record.stop();
      await rootKeys.close();
      await storage.close();
    },
  };
}
