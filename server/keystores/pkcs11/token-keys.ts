import type { AlgorithmName } from '../../../api/algorithms.ts';
import type { FoundObject, TokenFacts } from './protocol.ts';
import { publicHalfOf } from './public-half.ts';
import { secretAlgorithmOf } from './secret-keys.ts';
import { keyUri } from './token-names.ts';

/** A key that lies in a token, ours or not, with what the token says of how it guards it. */
export interface TokenKey {
  readonly uri: string;
  readonly label: string;
  /** CKA_ID in hex. */
  readonly id: string;
  /** Undefined where it is none that is supported. */
  readonly algorithm: AlgorithmName | undefined;
  readonly sensitive: boolean | undefined;
  readonly extractable: boolean | undefined;
  /** Whether it was made in the token and was never outside. */
  readonly neverOutside: boolean;
}

/** The private and secret keys among the objects of a token. */
export function tokenKeys(facts: TokenFacts, found: readonly FoundObject[]): TokenKey[] {
  return found
    .filter((one) => one.class !== 'public')
    .map((one) => ({
      uri: keyUri(facts, one),
      label: one.label,
      id: one.id,
      algorithm: algorithmAmong(found, one),
      sensitive: one.sensitive,
      extractable: one.extractable,
      neverOutside: one.alwaysSensitive === true && one.neverExtractable === true,
    }));
}

function algorithmAmong(
  found: readonly FoundObject[],
  key: FoundObject,
): AlgorithmName | undefined {
  if (key.class === 'secret') return secretAlgorithmOf(key);
  const isSame = (one: FoundObject) =>
    one === key || (key.id === '' ? one.label === key.label : one.id === key.id);
  try {
    return publicHalfOf(found.filter(isSame)).algorithm;
  } catch {
    return undefined;
  }
}
