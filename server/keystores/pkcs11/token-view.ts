import type { MechanismFacts, TokenFacts } from './protocol.ts';
import { type Quirks, quirksOf } from './quirks.ts';

/** What a token can do: its list of mechanisms, corrected by what is known of it. */
export class TokenView {
  readonly facts: TokenFacts;
  readonly quirks: Quirks;
  readonly #mechanisms: ReadonlyMap<number, MechanismFacts>;

  constructor(facts: TokenFacts) {
    this.facts = facts;
    this.quirks = quirksOf(facts);
    this.#mechanisms = new Map(
      facts.mechanisms
        .filter(({ type }) => !this.quirks.unusable.includes(type))
        .map((mechanism) => [mechanism.type, mechanism]),
    );
  }

  has(mechanism: number): boolean {
    return this.#mechanisms.has(mechanism);
  }

  /** Whether the mechanism takes RSA moduli of so many bits. */
  takesBits(mechanism: number, bits: number): boolean {
    const row = this.#mechanisms.get(mechanism);
    if (row === undefined) return false;
    return bits >= row.minimum && (row.maximum === 0 || bits <= row.maximum);
  }
}
