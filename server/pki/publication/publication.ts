import type { Clock } from '../../base/clock.ts';
import type { Handlers } from '../../base/handler.ts';
import type { PublicFile } from '../../base/public-file.ts';
import type { Commands, IsOrphan } from '../../commands/commands.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Authorities } from '../authorities/authorities.ts';
import { CrlPublisher, type PublisherLog } from './crl-publisher.ts';
import { createCrlHandlers } from './crl-routes.ts';
import { DueAgain } from './due-again.ts';
import { FreshCrls } from './fresh-crl.ts';
import type { SignByVersion } from './make-crl.ts';
import { PublicMaterial } from './public-material.ts';
import type { PublishProblem } from './retries.ts';

export { addressesUnder, addressNotes } from './addresses.ts';
export type { PublisherLog } from './crl-publisher.ts';
export type { PublishProblem } from './retries.ts';

export interface PublicationOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: PublisherLog;
  readonly authorities: Pick<Authorities, 'byId' | 'find' | 'lookup'>;
  readonly sign: SignByVersion;
  /** True where time cannot be trusted: nothing is published then. */
  readonly isClockUnsafe: () => boolean;
  /** How long a caller waits for a fresh CRL (10). */
  readonly freshWaitSeconds?: number;
}

/** How publishing stands, for `status`. */
export interface PublicationState {
  /** When the next CRL is due; null where no CA has one to publish. */
  readonly nextDueAt: number | null;
  /** Versions that should have published some time ago. */
  readonly overdue: number;
  readonly problems: readonly (PublishProblem & { readonly caName: string })[];
}

/** Overdue longer than this is a fault: a round comes each second. */
const overdueSeconds = 60;
const problemsShownMax = 20;

/** What CAs tell the world: CRLs and their own certificates, made on time and kept at hand. */
export class Publication {
  readonly #options: PublicationOptions;
  readonly #publisher: CrlPublisher;
  readonly #dueAgain: DueAgain;
  readonly #material: PublicMaterial;
  readonly #fresh: FreshCrls;
  #refreshedEpoch: number | undefined;
  #isWoken = false;

  constructor(options: PublicationOptions) {
    this.#options = options;
    const { authorities, storage, clock, log, sign, isClockUnsafe } = options;
    const authority = (id: string) => authorities.byId(id);
    this.#publisher = new CrlPublisher({
      ...{ storage, clock, log, sign, isClockUnsafe, authority },
      onPublished: (crl) => this.#material.published(crl),
    });
    const { store } = this.#publisher;
    this.#dueAgain = new DueAgain({ storage, clock, store, authority });
    this.#material = new PublicMaterial(store);
    this.#fresh = new FreshCrls(this.#publisher, this.#material, options.freshWaitSeconds);
  }

  /** Reads what is served: before anybody is let in. */
  async start(): Promise<void> {
    await this.#refresh();
  }

  /** Makes due at once what nodes that are gone have begun and not published. */
  cutShort(isOrphan: IsOrphan): Promise<void> {
    return this.#dueAgain.cutShort(isOrphan);
  }

  /** What has changed is served from here on: on each node, each second. */
  async refresh(): Promise<void> {
    // What cannot be read of one CA keeps no other from being served; the next round tries again.
    const [refreshed] = await Promise.allSettled([this.#refresh(), this.#catchUp()]);
    if (refreshed.status === 'rejected') throw refreshed.reason;
  }

  /** Begins to publish what is due: on one node of all, each second. */
  publishDue(): Promise<void> {
    return this.#publisher.publishDue();
  }

  /** Something was revoked, or a CA was made: its CRL is made without waiting for the next round. */
  wake(): void {
    if (this.#isWoken) return;
    this.#isWoken = true;
    setImmediate(() => {
      this.#isWoken = false;
      // The next round does what this one could not.
      this.#publisher.publishDue().catch(() => undefined);
    });
  }

  /** What lies at a path of the listener for plain HTTP. */
  file(path: string): PublicFile | undefined {
    return this.#material.file(path);
  }

  handlers(commands: Commands): Handlers<'crl.get' | 'crl.publish'> {
    return createCrlHandlers({
      authorities: this.#options.authorities,
      publisher: this.#publisher,
      material: this.#material,
      fresh: this.#fresh,
      commands,
      clock: this.#options.clock,
    });
  }

  async state(): Promise<PublicationState> {
    const now = this.#options.clock.now();
    const { nextDueAt, overdue } = await this.#publisher.store.dueState(
      now - overdueSeconds * 1000,
    );
    const problems = this.#publisher.problems().slice(0, problemsShownMax);
    const names = await this.#publisher.store.names(problems.map(({ caId }) => caId));
    const named = problems.map((one) => ({ ...one, caName: names.get(one.caId) ?? one.caId }));
    return { nextDueAt, overdue, problems: named };
  }

  /** Waits until nothing that was begun is under way. */
  idle(): Promise<void> {
    return this.#publisher.idle();
  }

  /** Waits for what is under way; begins nothing more. */
  stop(): Promise<void> {
    return this.#publisher.stop();
  }

  /** Takes what is stored and was not told of: the outcome of its write was not known. */
  async #catchUp(): Promise<void> {
    for (const newest of await this.#publisher.store.newestNumbers()) {
      if ((this.#material.numberOf(newest) ?? 0) >= newest.number) continue;
      const crl = await this.#publisher.store.newest(newest);
      if (crl !== undefined) this.#publisher.published({ crl });
    }
  }

  /** Once for each change that a cache must notice, and no oftener than there are rounds. */
  async #refresh(): Promise<void> {
    const { epoch } = this.#options.storage;
    if (epoch === this.#refreshedEpoch) return;
    const versions = await this.#publisher.store.public();
    await this.#material.refresh(versions);
    await this.#dueAgain.renewed(versions);
    this.#refreshedEpoch = epoch;
  }
}
