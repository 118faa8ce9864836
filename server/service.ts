import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { isHardware } from '../api/storage-classes.ts';
import { createAccess } from './access/access.ts';
import { createAlerts, withAlerts } from './alerts/alerts.ts';
import { createApprovals } from './approvals/approvals.ts';
import { createRecord, entryEncoder } from './audit/audit.ts';
import { type Clock, systemClock } from './base/clock.ts';
import { ClockGuard, requireClockAfter } from './base/clock-guard.ts';
import { isKeyreeveError } from './base/errors.ts';
import { ensurePrivateFolder } from './base/files.ts';
import { version } from './base/version.ts';
import { Commands, type IsOrphan } from './commands/commands.ts';
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
import { createNodes } from './nodes/nodes.ts';
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
  openTicketKeys,
  type SystemTls,
} from './pki/pki.ts';
import { createBackups, createRootKeyMoves } from './recovery/recovery.ts';
import { startRepeating } from './repeating.ts';
import type { Schedule, Timer } from './schedule/schedule.ts';
import {
  firstLoginCode,
  healthOf,
  type PublicFileListener,
  servePublicFiles,
  stopAll,
} from './serving.ts';
import { openStorage } from './storage/storage.ts';

/** Starts of one process, where other nodes start on the same new database. */
const startAttempts = 5;
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
  /** What wakes the schedule: for tests. */
  readonly timer?: Timer;
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
  for (let attempt = 1; ; attempt++) {
    const started: (() => Promise<unknown>)[] = [];
    try {
      return await wire(options, (stop) => started.push(stop));
    } catch (error) {
      for (const stop of started.reverse()) await stop().catch(() => undefined);
      // Nodes that start at once on an empty database make the same things: who was second finds
      // them there.
      const isSecond =
        options.config.databaseUrl !== undefined && isKeyreeveError(error, 'conflict');
      if (!isSecond || attempt === startAttempts) throw error;
    }
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
  const storage = withAlerts(withTrustedClock(opened, guard), clock);
  requireClockAfter(clock, await newestTime(storage));
  const nodes = createNodes({ storage, clock, log, version: version() });
  await nodes.start();
  onStarted(() => nodes.stop());
  const isOrphan: IsOrphan = (nodeId) => nodes.isGone(nodeId);

  // 2. The root key, and the keystores below it.
  const opening = await openRootKeys(config, storage, { log, clock, progress });
  const { rootKeys, surroundings, storeKeys } = opening;
  onStarted(() => rootKeys.close());
  const keystores = openKeystores(config, storeKeys);
  const places = modulePlaces(config);
  const hardware = await openHardware({ storage, keystores, clock, log, places });
  onStarted(() => hardware.stop());
  const installationId = await openInstallation(storage);
  const alerts = createAlerts({ storage, clock, log, sealer: storeKeys, installationId });
  onStarted(() => alerts.stop());

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
  const approvals = createApprovals({ storage, clock, sealer: storeKeys, authorise });
  const commands = new Commands({
    storage,
    clock,
    authorise,
    stillAllowed: (caller) => access.stillAllowed(caller),
    sealer: storeKeys,
    requireClock: () => guard.require(),
    gate: approvals.gate,
  });
  const keys = new Keys({
    storage,
    keystores,
    clock,
    authorise,
    sealer: storeKeys,
    principalId: (reference) => access.principalId(reference),
    storageTable: config.storageTable,
    destructionGuards: destructionGuards(storage),
    keystoreGuards: (keystore) => hardware.standing(keystore),
  });

  // 4. The record, then what a crash left half done.
  const record = createRecord({
    storage,
    clock,
    installationId,
    // One process serves SQLite: its next life takes the lease over at once.
    holder: storage.dialect === 'sqlite' ? installationId : storage.nodeId,
    sealer: secretSealer(storeKeys),
    checkpointFolder: config.checkpoints,
    archives: [config.archive],
  });
  await record.start();
  onStarted(() => record.stop());
  // Tokens may be away, and nobody waits for them: see below.
  await settleIntents(keys, { among: ({ kind }) => !isHardware(kind), isOrphan });
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
  backups.clear();
  await backups.settle(isOrphan);
  const rootKeyMoves = createRootKeyMoves({
    ...{ storage, clock, rootKeys, surroundings },
    allowKeystore: (uri) => requireModuleOf(uri, places),
    dataFolder: config.data,
    checkpoints: config.checkpoints,
  });
  await rootKeyMoves.settle(isOrphan);

  // 5. Certificates, and TLS of our own.
  const pki = createPki({
    ...{ storage, keys, clock, log },
    isClockUnsafe: () => guard.isUnsafe,
    baseUrl: config.pkiUrl,
  });
  onStarted(() => pki.stop());
  await pki.settle(isOrphan);
  // What a node leaves behind later is settled by those that live.
  // Each by itself: a token that fails keeps no certificate from being revoked.
  nodes.onNodeGone(() => settleIntents(keys, { isOrphan }));
  nodes.onNodeGone(() => backups.settle(isOrphan));
  nodes.onNodeGone(() => rootKeyMoves.settle(isOrphan));
  nodes.onNodeGone(() => pki.settle(isOrphan));
  await pki.start();
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
  let repeating: Schedule | undefined;
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
      ...approvals.handlers(commands),
      ...pki.handlers(commands),
      ...createAuditHandlers({
        record,
        commands,
        authorise,
        keyId: async (reference) => (await keys.store.find(reference))?.id,
        principalId: (reference) => access.principalId(reference),
        archiveFolder: config.archive,
      }),
      ...hardware.handlers(authorise, commands, access),
      ...alerts.handlers(authorise, commands),
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
        approvals: () => approvals.status(),
        alerts: () => alerts.status(),
        nodes: () => nodes.status(),
        jobs: async () => (await repeating?.jobs()) ?? [],
        authorise,
        clock,
      }),
    },
    authenticate: (call) => access.authenticate(call),
    freshness: { storage, recheck: (caller) => access.recheck(caller) },
    authorise,
    tls: tls.options,
    ticketKeys: await openTicketKeys({ storage, sealer: storeKeys, clock }),
    health: () => healthOf(storage, guard),
    metrics: async () => [
      ...(await metrics.samples()),
      ...(await pki.samples()),
      ...hardware.samples(),
      ...((await repeating?.samples()) ?? []),
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
  hardware.watch((keystore) => settleIntents(keys, { among: (one) => one === keystore, isOrphan }));
  repeating = startRepeating({
    ...{
      storage,
      storeKeys,
      clock,
      guard,
      log,
      keys,
      access,
      approvals,
      commands,
      pki,
      tls,
      alerts,
      record,
    },
    checkpoints: config.checkpoints,
    reloadTls: () => http.reloadTls({ tls: tls.options }),
    ...(options.timer === undefined ? {} : { timer: options.timer }),
    ...(options.renewalSeconds === undefined ? {} : { renewalSeconds: options.renewalSeconds }),
  });
  onStarted(async () => repeating?.stop());

  return {
    url,
    httpUrl: publicFiles?.url,
    caPem: tls.caPem,
    installationId,
    firstLoginCode: await firstLoginCode(config, storage, tls, clock),
    // What was begun last is ended first: no request loses its storage.
    stop: () =>
      stopAll([
        () => Promise.all([http.close(), publicFiles?.close()]),
        async () => repeating?.stop(),
        () => alerts.stop(),
        () => pki.stop(),
        () => hardware.stop(),
        () => record.stop(),
        () => rootKeys.close(),
        // Without the database the others notice by themselves.
        () => nodes.stop().catch(() => undefined),
        () => storage.close(),
      ]),
  };
}
