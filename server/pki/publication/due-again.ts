import type { Clock } from '../../base/clock.ts';
import type { IsOrphan } from '../../commands/commands.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import { type Authority, authorityVersion } from '../authority.ts';
import { CrlSteps } from './crl-steps.ts';
import { type CrlStore, type PublicVersion, slotOf } from './crl-store.ts';
import { issues } from './make-crl.ts';

export interface DueAgainOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly store: CrlStore;
  /** CAs by id, as they are now. Error: `not-found`. */
  readonly authority: (id: string) => Promise<Authority>;
}

/** Finds versions that have to publish, though what is stored of them does not say so yet. */
export class DueAgain {
  readonly #options: DueAgainOptions;
  readonly #steps: CrlSteps;
  /** Versions without a next CRL, and for which certificate of theirs that was found. */
  readonly #ended = new Map<string, string>();

  constructor(options: DueAgainOptions) {
    this.#options = options;
    this.#steps = new CrlSteps(options.storage);
  }

  /** What the end of a node cut short is due at once. */
  async cutShort(isOrphan: IsOrphan): Promise<void> {
    const { clock, store } = this.#options;
    const now = clock.now();
    const left = (await store.claimed()).filter(({ nodeId }) => isOrphan(nodeId));
    await this.#write(left.map((one) => this.#steps.unclaimOf(one.nodeId, one, now)));
  }

  /** Versions that had published their last CRL and issue again, since they were renewed. */
  async renewed(versions: readonly PublicVersion[]): Promise<void> {
    const { authority: find, clock } = this.#options;
    const now = clock.now();
    const steps: Step[] = [];
    for (const version of versions) {
      const slot = slotOf(version);
      if (!version.isEnded) this.#ended.delete(slot);
      if (!version.isEnded || this.#ended.get(slot) === version.certificateId) continue;
      const authority = await find(version.caId);
      const own = authorityVersion(authority, version.version);
      if (own !== undefined && issues(authority, own, now)) {
        steps.push(this.#steps.makeDue(version, now));
      } else this.#ended.set(slot, version.certificateId);
    }
    await this.#write(steps);
  }

  async #write(steps: readonly Step[]): Promise<void> {
    if (steps.length > 0) await this.#options.storage.commit({ steps, entries: [] });
  }
}
