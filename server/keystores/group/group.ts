import type { AlgorithmName } from '../../../api/algorithms.ts';
import { type AssuranceLevel, meetsAssurance } from '../../../api/assurance.ts';
import type { Clock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { KeyMaterial } from '../../crypto/crypto.ts';
import type {
  AdoptedKey,
  KeyIdentity,
  KeyLocation,
  Keystore,
  KeystoreDescription,
  KeystoreHealth,
  KeystoreObject,
  StoredKey,
} from '../keystore.ts';
import { type Pkcs11Keystore, TokenFaultError, withoutToken } from '../pkcs11/pkcs11.ts';
import {
  Failover,
  KeyMissingError,
  type MemberRole,
  type MemberSwitch,
  memberRoles,
} from './failover.ts';
import { openGroupKey } from './group-key.ts';

export { type MemberRole, type MemberSwitch, memberRoles } from './failover.ts';

export interface KeystoreGroupOptions {
  readonly name: string;
  readonly members: Readonly<Record<MemberRole, Pkcs11Keystore>>;
  /** A member that has work and answers nothing for so long is away. */
  readonly deadlineSeconds: number;
  readonly clock: Clock;
  /** Told of each change of sides, at once. */
  readonly onSwitch: (event: MemberSwitch) => void;
}

/**
 * Two tokens as one keystore. Keys are made in the primary and brought to the secondary, where both
 * tokens can; uses go to the primary, and to the secondary while that does not answer. The address
 * of a key names no token: its CKA_ID is the same in both.
 */
export class KeystoreGroup implements Keystore {
  readonly name: string;
  readonly kind = 'pkcs11';
  readonly members: Readonly<Record<MemberRole, Pkcs11Keystore>>;
  readonly #failover: Failover;

  constructor({ name, members, deadlineSeconds, clock, onSwitch }: KeystoreGroupOptions) {
    this.name = name;
    this.members = members;
    const member = (keystore: Pkcs11Keystore) => ({
      name: keystore.name,
      progress: () => keystore.metrics().calls,
      isStarting: () => {
        const { sessions, restarts, calls } = keystore.metrics();
        return sessions === 0 && restarts === 0 && calls === 0;
      },
      health: () => keystore.health(),
    });
    this.#failover = new Failover({
      ...{ group: name, deadlineSeconds, clock, onSwitch },
      members: { primary: member(members.primary), secondary: member(members.secondary) },
    });
  }

  get capabilities() {
    const { primary, secondary } = this.members;
    const canImport = primary.capabilities.import && secondary.capabilities.import;
    return { import: canImport, export: false, list: true, attest: false, external: true };
  }

  /** Who does the work now. */
  get active(): MemberRole {
    return this.#failover.active;
  }

  get counts(): { readonly failovers: number; readonly switchedAt: number | undefined } {
    return this.#failover.counts;
  }

  /**
   * Makes a key in the primary and brings it to the secondary. Where one of the tokens cannot do
   * that with such keys, it stays in the primary alone; where the secondary is only away, none is
   * made. Errors: those of `pkcs11`.
   */
  async generate(identity: KeyIdentity, algorithm: AlgorithmName): Promise<StoredKey> {
    const { primary, secondary } = this.members;
    if (!(await this.canMirror(algorithm))) {
      return shared(await primary.generate(identity, algorithm));
    }
    await this.#refuseExisting(identity);
    const target = await secondary.transfer.prepare(primary.transfer);
    const { stored, wrapped } = await primary.transfer.generate(identity, algorithm, target);
    await secondary.transfer.take(identity, wrapped);
    return shared(stored);
  }

  async import(identity: KeyIdentity, material: KeyMaterial): Promise<StoredKey> {
    const { primary, secondary } = this.members;
    await this.#refuseExisting(identity);
    const stored = await primary.import(identity, material);
    await secondary.import(identity, material);
    return shared(stored);
  }

  open(location: KeyLocation): Promise<KeyMaterial> {
    return openGroupKey(this.name, this.#failover, (role) => this.openIn(role, location));
  }

  /** The key of one member, whatever the other does. Errors: those of `open` in a token. */
  async openIn(role: MemberRole, location: KeyLocation): Promise<KeyMaterial> {
    const keystore = this.members[role];
    try {
      return await keystore.open(location);
    } catch (error) {
      const isMissing = error instanceof TokenFaultError && error.kind === 'missing';
      throw isMissing ? new KeyMissingError(keystore.name, error) : error;
    }
  }

  async destroy(location: KeyLocation): Promise<void> {
    await Promise.all(memberRoles.map((role) => this.members[role].destroy(location)));
  }

  async discard(identity: KeyIdentity): Promise<void> {
    await Promise.all(memberRoles.map((role) => this.members[role].discard(identity)));
  }

  async exists(identity: KeyIdentity): Promise<boolean> {
    const found = await Promise.all(memberRoles.map((role) => this.members[role].exists(identity)));
    return found.includes(true);
  }

  /** The address of a key is the same in both. */
  isAt(identity: KeyIdentity, uri: string): boolean {
    return this.members.primary.isAt(identity, uri);
  }

  /** A key that lies in the primary, or else in the secondary. */
  async adopt(object: KeystoreObject): Promise<AdoptedKey> {
    const { primary, secondary } = this.members;
    const adopted = await primary.adopt(object).catch((error: unknown) => {
      if (!(error instanceof KeyreeveError) || error.code !== 'not-found') throw error;
      return secondary.adopt(object);
    });
    return { ...adopted, stored: shared(adopted.stored) };
  }

  /** The lower of the two levels; `none` where they cannot be compared. */
  async describe(): Promise<KeystoreDescription> {
    const [first, second] = await Promise.all([
      this.members.primary.describe(),
      this.members.secondary.describe(),
    ]);
    const isFirst = first.assurance === lower(first.assurance, second.assurance);
    const { assuranceFrom } = isFirst ? first : second;
    return {
      assurance: lower(first.assurance, second.assurance),
      assuranceFrom,
      ...(first.device === undefined ? {} : { device: first.device }),
    };
  }

  async health(): Promise<KeystoreHealth> {
    const [first, second] = await Promise.all([
      this.members.primary.health(),
      this.members.secondary.health(),
    ]);
    if (first.ready && second.ready) return first;
    const away = first.ready ? second : first;
    return { ready: first.ready || second.ready, reason: away.reason };
  }

  /** Whether a key of the algorithm, made now, will be in both. Error: `keystore-unavailable`. */
  async canMirror(algorithm: AlgorithmName): Promise<boolean> {
    const { primary, secondary } = this.members;
    const can = await Promise.all([
      primary.transfer.isPossible(algorithm),
      secondary.transfer.isPossible(algorithm),
    ]);
    return !can.includes(false);
  }

  /**
   * Which of these keys are in one member alone, or in none (null), by their addresses. Error:
   * `keystore-unavailable`, where one of the members does not answer.
   */
  async unmirrored(uris: readonly string[]): Promise<ReadonlyMap<string, MemberRole | null>> {
    const { primary, secondary } = this.members;
    const [first, second] = await Promise.all([addressesIn(primary), addressesIn(secondary)]);
    return new Map(
      uris
        .filter((uri) => !first.has(uri) || !second.has(uri))
        .map((uri) => [uri, first.has(uri) ? 'primary' : second.has(uri) ? 'secondary' : null]),
    );
  }

  /** Asked of both before anything is made: what goes wrong later is removed from both. */
  async #refuseExisting(identity: KeyIdentity): Promise<void> {
    if (!(await this.exists(identity))) return;
    throw new KeyreeveError('already-exists', 'The tokens have a key of this id already.', {
      hint: 'Choose another id: keys in tokens are never replaced.',
    });
  }

  /** No more looks at the members; they themselves are stopped by who started them. */
  stop(): void {
    this.#failover.stop();
  }
}

async function addressesIn(keystore: Pkcs11Keystore): Promise<ReadonlySet<string>> {
  return new Set((await keystore.list()).map(({ uri }) => withoutToken(uri)));
}

function shared(stored: StoredKey): StoredKey {
  return { ...stored, uri: withoutToken(stored.uri) };
}

function lower(one: AssuranceLevel, other: AssuranceLevel): AssuranceLevel {
  if (meetsAssurance(one, other)) return other;
  return meetsAssurance(other, one) ? one : 'none';
}
