import type { KeyView } from '../../api/routes/keys.ts';

/** What the service acknowledged of a key; `pending` is a change whose answer never came. */
export interface KnownKey {
  readonly name: string;
  readonly keystore: 'wrapped' | 'file';
  /** The newest version. */
  version: number;
  state: 'active' | 'suspended';
  pending: 'rotate' | 'state' | undefined;
}

export interface KnownToken {
  readonly id: string;
  isRevoked: boolean;
  /** A revocation was sent and not answered. */
  isPending: boolean;
}

export interface KnownUse {
  readonly correlationId: string;
  readonly action: string;
}

/** Everything that the service acknowledged, and what it might have done without an answer. */
export class Acknowledged {
  readonly keys = new Map<string, KnownKey>();
  /** Names of keys whose making was asked for and not answered. */
  readonly asked = new Map<string, KnownKey>();
  readonly tokens = new Map<string, KnownToken>();
  /** Calls of this round that were answered: each left an entry. */
  calls: KnownUse[] = [];
  acknowledgedTotal = 0;

  acknowledge(correlationId: string, action: string): void {
    this.calls.push({ correlationId, action });
    this.acknowledgedTotal++;
  }

  /**
   * Holds what the service has after a restart against what it acknowledged; what was open is taken
   * over as it came out. Returns what is wrong, in words.
   */
  reconcile(found: readonly KeyView[]): string[] {
    const problems: string[] = [];
    const byName = new Map(found.map((view) => [view.name, view]));
    for (const key of this.keys.values()) {
      const view = byName.get(key.name);
      if (view === undefined) problems.push(`${key.name} was acknowledged and is not there`);
      else problems.push(...settle(key, view));
    }
    for (const view of found) {
      if (this.keys.has(view.name)) continue;
      const key = this.asked.get(view.name);
      if (key === undefined) problems.push(`${view.name} is there, and nobody asked for it`);
      else this.keys.set(view.name, key);
    }
    this.asked.clear();
    return problems;
  }

  reconcileTokens(found: readonly { id: string; revokedAt: string | null }[]): string[] {
    const problems: string[] = [];
    const byId = new Map(found.map((view) => [view.id, view]));
    for (const token of this.tokens.values()) {
      const view = byId.get(token.id);
      if (view === undefined) {
        problems.push(`the token ${token.id} was acknowledged and is not there`);
        continue;
      }
      const isRevoked = view.revokedAt !== null;
      if (isRevoked !== token.isRevoked && !token.isPending) {
        problems.push(`the token ${token.id} is ${isRevoked ? '' : 'not '}revoked`);
      }
      token.isRevoked = isRevoked;
      token.isPending = false;
    }
    return problems;
  }
}

function settle(key: KnownKey, view: KeyView): string[] {
  const newest = view.versions.at(-1)!;
  const { version, state, pending } = key;
  key.version = newest.version;
  key.state = newest.state === 'suspended' ? 'suspended' : 'active';
  key.pending = undefined;
  const isAsKnown = newest.version === version && newest.state === state;
  const isRotated =
    pending === 'rotate' && newest.version === version + 1 && newest.state === 'active';
  const isChanged = pending === 'state' && newest.version === version && key.state === newest.state;
  const problems = [];
  if (!isAsKnown && !isRotated && !isChanged) {
    problems.push(
      `${key.name} is ${newest.version} ${newest.state}, acknowledged was ${version} ${state}, pending ${pending}`,
    );
  }
  const old = view.versions.slice(0, -1).find((one) => one.state !== 'deactivated');
  if (old !== undefined) problems.push(`${key.name}@${old.version} is ${old.state}`);
  return problems;
}
