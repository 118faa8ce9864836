/**
 * Certificates: the CAs that users make, what they issue, revoke and publish, and the small CA
 * behind the service's own HTTPS. The rest of the folder is private.
 */
import type { Clock } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { MetricSample } from '../base/metric.ts';
import type { PublicFile } from '../base/public-file.ts';
import { type Commands, type IsOrphan, settleUnfinished } from '../commands/commands.ts';
import type { Keys } from '../keys/keys.ts';
import type { Step, Storage } from '../storage/storage.ts';
import { Authorities, createAuthorityHandlers } from './authorities/authorities.ts';
import { CertificateCounter } from './certificate-counts.ts';
import {
  CertificateSigner,
  createCertificateHandlers,
  purgeExpired,
  purgeIntentKind,
  settleCertificates,
} from './certificates/certificates.ts';
import { tellExpiring } from './expiring-authorities.ts';
import { type PkiStatus, pkiSamples, pkiStatus } from './pki-status.ts';
import {
  addressesUnder,
  addressNotes,
  Publication,
  type PublisherLog,
} from './publication/publication.ts';
import { createTakeoverHandlers } from './takeover/takeover.ts';

export { destructionGuards } from './authorities/authorities.ts';
export {
  certificateNames,
  createTlsExpiry,
  openSystemTls,
  openTicketKeys,
  type SystemTls,
} from './system-tls/system-tls.ts';

export interface PkiOptions {
  readonly storage: Storage;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly log: PublisherLog;
  /** True where time cannot be trusted: nothing is published then. */
  readonly isClockUnsafe: () => boolean;
  /** The base of addresses in certificates (`KEYREEVE_PKI_URL`); without it they carry none. */
  readonly baseUrl: string | undefined;
}

type PkiRoutes =
  | keyof ReturnType<typeof createAuthorityHandlers>
  | keyof ReturnType<typeof createCertificateHandlers>
  | keyof ReturnType<typeof createTakeoverHandlers>
  | 'crl.get'
  | 'crl.publish';

/** The certificate authorities of the installation and all that belongs to them. */
export interface Pki {
  handlers(commands: Commands): Handlers<PkiRoutes>;
  /** Reads what is served: before anybody is let in. */
  start(): Promise<void>;
  /** Finishes what nodes that are gone left half done: at the start, and when another one has gone. */
  settle(isOrphan: IsOrphan): Promise<void>;
  /** Serves what has changed: for the schedule, on each node, each second. */
  refresh(): Promise<void>;
  /** Publishes what is due: for the schedule, on one node, each second. */
  publishDue(): Promise<void>;
  /** Tells of certificates of CAs that end soon: for the schedule. `fence` goes into each commit. */
  tellExpiring(fence?: readonly Step[]): Promise<number>;
  /** Forgets what CAs keep no longer: for the schedule. */
  purge(): Promise<number>;
  /** What lies at a path of the listener for plain HTTP, from memory. */
  file(path: string): PublicFile | undefined;
  /** For `status`; `url` is where the files are served. */
  status(url: string | undefined): Promise<PkiStatus>;
  /** For `/metrics`. */
  samples(): Promise<readonly MetricSample[]>;
  /** Waits for what is being published. */
  stop(): Promise<void>;
}

/** Wires the parts together, each resting on those before. */
export function createPki(options: PkiOptions): Pki {
  const { storage, keys, clock, log, baseUrl } = options;
  const notes = () => addressNotes(baseUrl);
  const addresses = addressesUnder(baseUrl);
  const authorities = new Authorities({ storage, keys, clock, addresses, notes });
  const publication = new Publication({
    ...{ storage, clock, log, authorities },
    isClockUnsafe: options.isClockUnsafe,
    sign: (version, scheme, data) => keys.sign(version, scheme, data),
  });
  const counter = new CertificateCounter(storage, clock);
  const facts = async () => ({
    authorities: (await authorities.store.ids()).length,
    counts: await counter.counts(),
    publication: await publication.state(),
  });
  const onRevoked = () => publication.wake();
  const signer = new CertificateSigner({ storage, keys, clock, onRevoked });
  return {
    handlers: (commands) => ({
      ...createAuthorityHandlers(authorities, signer, commands),
      ...createCertificateHandlers({
        ...{ storage, keys, clock, authorities, signer, commands, notes, onRevoked },
      }),
      ...createTakeoverHandlers({ authorities, commands, onRevoked }),
      ...publication.handlers(commands),
    }),
    start: () => publication.start(),
    settle: async (isOrphan) => {
      await settleCertificates({ storage, clock, onRevoked }, isOrphan);
      await settleUnfinished(storage, clock, purgeIntentKind, isOrphan);
      await publication.cutShort(isOrphan);
    },
    refresh: () => publication.refresh(),
    publishDue: () => publication.publishDue(),
    tellExpiring: (fence) => tellExpiring({ storage, clock, fence: fence ?? [] }),
    purge: () => purgeExpired({ storage, clock, authorities }),
    file: (path) => publication.file(path),
    status: async (url) => pkiStatus(await facts(), { url, base: baseUrl }),
    samples: async () => pkiSamples(await facts()),
    stop: () => publication.stop(),
  };
}
