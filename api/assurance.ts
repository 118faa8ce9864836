/**
 * How far the place of a private key has been examined, by certificates of the standards below. A
 * closed table: keystores declare a level, policies demand one.
 */
export interface AssuranceRow {
  readonly title: string;
  /** Levels of different schemes say nothing of each other. */
  readonly scheme: 'none' | 'fips-140' | 'common-criteria';
  /** Editions of the standard, in their order: a newer one meets what was asked of an older one. */
  readonly edition: number;
  /** Levels within the scheme, in their order. */
  readonly rank: number;
}

export const assuranceLevels = {
  none: { title: 'no certificate', scheme: 'none', edition: 0, rank: 0 },
  'fips-140-2-level-1': { title: 'FIPS 140-2 level 1', scheme: 'fips-140', edition: 2, rank: 1 },
  'fips-140-2-level-2': { title: 'FIPS 140-2 level 2', scheme: 'fips-140', edition: 2, rank: 2 },
  'fips-140-2-level-3': { title: 'FIPS 140-2 level 3', scheme: 'fips-140', edition: 2, rank: 3 },
  'fips-140-2-level-4': { title: 'FIPS 140-2 level 4', scheme: 'fips-140', edition: 2, rank: 4 },
  'fips-140-3-level-1': { title: 'FIPS 140-3 level 1', scheme: 'fips-140', edition: 3, rank: 1 },
  'fips-140-3-level-2': { title: 'FIPS 140-3 level 2', scheme: 'fips-140', edition: 3, rank: 2 },
  'fips-140-3-level-3': { title: 'FIPS 140-3 level 3', scheme: 'fips-140', edition: 3, rank: 3 },
  'fips-140-3-level-4': { title: 'FIPS 140-3 level 4', scheme: 'fips-140', edition: 3, rank: 4 },
  'cc-eal4': { title: 'Common Criteria EAL4', scheme: 'common-criteria', edition: 0, rank: 4 },
  'cc-eal4-plus': {
    title: 'Common Criteria EAL4, augmented',
    scheme: 'common-criteria',
    edition: 0,
    rank: 4.5,
  },
  'cc-eal5-plus': {
    title: 'Common Criteria EAL5, augmented',
    scheme: 'common-criteria',
    edition: 0,
    rank: 5.5,
  },
  'cc-eal6-plus': {
    title: 'Common Criteria EAL6, augmented',
    scheme: 'common-criteria',
    edition: 0,
    rank: 6.5,
  },
} as const satisfies Record<string, AssuranceRow>;

export type AssuranceLevel = keyof typeof assuranceLevels;

export const assuranceNames = Object.keys(assuranceLevels) as [AssuranceLevel, ...AssuranceLevel[]];

/** Whether a place of this level will do where `demanded` is asked for: an order in part only. */
export function meetsAssurance(level: AssuranceLevel, demanded: AssuranceLevel): boolean {
  const wanted: AssuranceRow = assuranceLevels[demanded];
  if (wanted.scheme === 'none') return true;
  const { scheme, edition, rank }: AssuranceRow = assuranceLevels[level];
  return scheme === wanted.scheme && edition >= wanted.edition && rank >= wanted.rank;
}
