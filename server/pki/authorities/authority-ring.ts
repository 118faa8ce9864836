import type { Action } from '../../../api/actions.ts';
import type { Profile } from '../../../api/profiles.ts';
import type { CaView } from '../../../api/routes/authorities.ts';
import type { Caller } from '../../base/caller.ts';
import type { Clock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { isId } from '../../base/ids.ts';
import { findVersion, folderOf, type Keys } from '../../keys/keys.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Certificate } from '../../x509/x509.ts';
import { type Authority, type AuthorityVersion, authorityVersion } from '../authority.ts';
import type { Addresses, IssuerFacts } from '../rules/rules.ts';
import { requireInForce, signingVersion, versionScheme } from './authority-rules.ts';
import { AuthorityStore } from './authority-store.ts';
import { type AddedCounts, AuthorityViews, type ViewOptions } from './authority-views.ts';
import { certificatesAbove } from './chains.ts';
import { ProfileStore } from './profile-store.ts';

/** CAs above each other, at most: a circle of cross certificates is no chain. */
export const chainMax = 12;

export interface AuthoritiesOptions extends ViewOptions {
  readonly keys: Keys;
}

/** The certificate authorities of the installation, and the profiles they issue by. */
export class Authorities {
  readonly keys: Keys;
  readonly clock: Clock;
  readonly addresses: (keyFingerprint: string) => Addresses;
  readonly store: AuthorityStore;
  readonly profileStore: ProfileStore;
  readonly #storage: Storage;
  readonly #views: AuthorityViews;

  constructor(options: AuthoritiesOptions) {
    this.#storage = options.storage;
    this.keys = options.keys;
    this.clock = options.clock;
    this.addresses = options.addresses;
    this.store = new AuthorityStore(options.storage, options.keys);
    this.profileStore = new ProfileStore(options.storage);
    this.#views = new AuthorityViews(options, this.store);
  }

  /** A CA by id or name, from memory while nothing changes; undefined where there is none. */
  find(reference: string): Promise<Authority | undefined> {
    return this.store.find(reference);
  }

  /** Error: `not-found`. */
  async byId(id: string): Promise<Authority> {
    const authority = await this.store.find(id);
    if (authority !== undefined) return authority;
    throw new KeyreeveError('not-found', 'There is no such CA.');
  }

  /**
   * A CA by id or name, for a caller who wants to do something with it: without the right he learns
   * nothing of what exists. Of one that is there the right is still to be asked. Errors: `forbidden`,
   * `not-found`.
   */
  async lookup(caller: Caller, reference: string, action: Action): Promise<Authority> {
    const authority = await this.store.find(reference);
    if (authority !== undefined) return authority;
    const folder = isId(reference) ? '' : folderOf(reference);
    this.keys.authorise(caller, action, { type: 'folder', folder });
    throw authorityNotFound(reference);
  }

  /** All of them, in the order of their names. */
  async list(): Promise<readonly Authority[]> {
    const found = await Promise.all((await this.store.ids()).map((id) => this.store.find(id)));
    return found.filter((authority) => authority !== undefined);
  }

  /** The certificates from that of a version up to the root, as far as they are known. */
  async chainOf(authority: Authority, version: AuthorityVersion): Promise<readonly Certificate[]> {
    return (await this.pathOf(authority, version)).certificates;
  }

  /** The same, with the topmost CA of this installation on the way. */
  async pathOf(
    authority: Authority,
    version: AuthorityVersion,
  ): Promise<{ certificates: readonly Certificate[]; top: Authority }> {
    const certificates = [version.certificate];
    let here = { authority, version };
    while (certificates.length < chainMax) {
      const { issuedBy } = here.version;
      // A root, or a version whose certificate comes from outside.
      if (issuedBy === null || issuedBy.id === here.authority.key.id) break;
      const above = await this.byId(issuedBy.id);
      const aboveVersion = authorityVersion(above, issuedBy.version);
      if (aboveVersion === undefined) break;
      certificates.push(aboveVersion.certificate);
      here = { authority: above, version: aboveVersion };
    }
    const top = here.authority;
    if (here.version.issuedBy !== null) return { certificates, top };
    const outside = await certificatesAbove(this.#storage, top.key.id, here.version.certificate);
    return { certificates: [...certificates, ...outside], top };
  }

  /**
   * The version that issues now: its key is active and its certificate in force. Errors:
   * `ca-importing`, `key-destroyed`, `key-pending-destruction`, `state-not-allowed`.
   */
  current(authority: Authority, now: number): AuthorityVersion {
    const version = signingVersion(authority, now);
    requireInForce(authority, version, now);
    return version;
  }

  /** What planning a certificate has to know of its issuer. */
  async issuerFacts(authority: Authority, version: AuthorityVersion): Promise<IssuerFacts> {
    const key = findVersion(authority.key, version.version);
    return {
      certificate: version.certificate,
      chain: await this.chainOf(authority, version),
      scheme: versionScheme(authority.key, key),
      settings: authority.settings,
      addresses: this.addresses(key.fingerprint),
    };
  }

  /** A profile by name: built in, or of the operators. Error: `unknown-profile`. */
  profile(name: string): Promise<Profile> {
    return this.profileStore.named(name);
  }

  /** All of them: first those built in. */
  profiles(): Promise<readonly Profile[]> {
    return this.profileStore.all();
  }

  /** As the API shows a CA; `added` is what a write that is under way adds to what it issued. */
  async view(authority: Authority, added?: AddedCounts): Promise<CaView> {
    const [view] = await this.#views.of([authority], added);
    return view!;
  }

  /** Many at once: what they issued is counted in one go. */
  views(authorities: readonly Authority[]): Promise<CaView[]> {
    return this.#views.of(authorities);
  }
}

export function authorityNotFound(reference: string): KeyreeveError {
  return new KeyreeveError('not-found', `There is no CA "${reference}".`, {
    hint: 'List the CAs you may see: keyreeve ca list',
  });
}
