export type DialectName = 'sqlite' | 'postgres';

/** One step of the schema. Once released it never changes: the next change is a new one. */
export interface Migration {
  /** 1, 2, 3 ... without gaps: the version of the schema after it. */
  readonly id: number;
  readonly name: string;
  /**
   * The lowest schema whose programs live with this one: they go on serving the same database
   * during a rolling upgrade. Left out: programs of this schema and newer ones alone. New tables,
   * and new columns that may be left out of an INSERT, are what older programs live with.
   */
  readonly floor?: number;
  up(dialect: DialectName): readonly string[];
}
