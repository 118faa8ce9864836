import { type AlgorithmName, algorithmNames, type SchemeName } from '../../../api/algorithms.ts';
import { keyKindOf } from './key-kinds.ts';
import { schemesOf } from './remote.ts';
import type { TokenView } from './token-view.ts';

/** An algorithm whose keys a token holds, and what it does with them. */
export interface TokenAbility {
  readonly algorithm: AlgorithmName;
  readonly schemes: readonly SchemeName[];
}

/** What a token can do, as far as it says so. */
export function abilitiesOf(token: TokenView): TokenAbility[] {
  return algorithmNames
    .filter((algorithm) => keyKindOf(algorithm, token) !== undefined)
    .map((algorithm) => ({ algorithm, schemes: [...schemesOf(algorithm, token)] }))
    .filter(({ schemes }) => schemes.length > 0);
}
