export type DialectName = 'sqlite' | 'postgres';

/** One step of the schema. Once released it never changes: the next change is a new one. */
export interface Migration {
  /** 1, 2, 3 ... without gaps: the version of the schema after it. */
  readonly id: number;
  readonly name: string;
  up(dialect: DialectName): readonly string[];
}
