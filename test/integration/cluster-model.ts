/** The errors that callers may see while machines fail. Every other one is a fault of the service. */
const allowedCodes: readonly string[] = [
  'unreachable',
  'storage-unavailable',
  'outcome-unknown',
  'shutting-down',
  'overloaded',
  'idempotency-in-progress',
  // What a node had begun when it froze was settled by another one.
  'conflict',
];

export function isAllowedCode(code: string): boolean {
  return allowedCodes.includes(code);
}

export interface KnownKey {
  readonly name: string;
  readonly purpose: 'sign' | 'encrypt';
  /** Fingerprints by version, as they were answered. */
  readonly versions: Map<number, string>;
  /** A change was asked for and never answered: there may be one version more. */
  isOpen: boolean;
}

export interface KnownSignature {
  readonly key: string;
  readonly version: number;
  readonly data: Buffer;
  readonly signature: string;
}

export interface KnownCiphertext {
  readonly key: string;
  readonly plaintext: string;
  readonly ciphertext: string;
}

export type Kind = 'use' | 'command' | 'read';

export interface Success {
  readonly at: number;
  readonly kind: Kind;
  /** Which of the callers it was. */
  readonly caller: number;
}

/** When the shared key signed with which version, and when a rotation of it was answered. */
export interface SharedUse {
  readonly at: number;
  readonly version: number;
}

/** Everything that was answered, by all clients of a run. */
export class ClusterModel {
  readonly keys = new Map<string, KnownKey>();
  /** Names of keys whose making was never answered. */
  readonly openNames = new Set<string>();
  readonly certificates = new Map<string, string>();
  readonly tokens = new Map<string, 'living' | 'revoked' | 'open'>();
  readonly signatures: KnownSignature[] = [];
  readonly ciphertexts: KnownCiphertext[] = [];
  readonly sharedUses: SharedUse[] = [];
  readonly sharedRotations: SharedUse[] = [];
  /** What was answered, by correlation id: each has its entry. */
  readonly acknowledged = new Map<string, { action: string; kind: Kind }>();
  readonly errors = new Map<string, number>();
  /** Checkpoints that were seen, by the size of the tree: one tree has one root for each. */
  readonly checkpoints = new Map<string, string>();
  readonly problems: string[] = [];
  retries = 0;
  givenUp = 0;
  readonly #successes: Success[] = [];
  #ids = 0;

  nextId(what: string): string {
    return `cluster-${what}-${++this.#ids}`;
  }

  succeed(kind: Kind, caller: number): void {
    this.#successes.push({ at: performance.now(), kind, caller });
  }

  get answered(): number {
    return this.#successes.length;
  }

  fail(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    if (isAllowedCode(code)) return;
    this.problems.push(`a caller was answered with ${code}`);
  }

  seeCheckpoint(checkpoint: string): void {
    const [, size, root] = checkpoint.split('\n') as [string, string, string];
    const [, known] = this.checkpoints.get(size)?.split('\n').slice(1) ?? [];
    if (known !== undefined && known !== root) {
      this.problems.push(`two trees of ${size} entries were published`);
    }
    this.checkpoints.set(size, checkpoint);
  }

  /** The longest time, in milliseconds, without such an answer to anybody of those. */
  longestGap(from: number, to: number, isMeant: (one: Success) => boolean = () => true): number {
    const times = this.#successes.filter(isMeant).map(({ at }) => at);
    const all = [from, ...times.filter((at) => at > from && at < to), to];
    return Math.round(Math.max(...all.slice(1).map((at, index) => at - all[index]!)));
  }
}
