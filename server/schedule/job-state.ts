import type { WorkState } from './work.ts';

/** A job as `status` shows it; times are milliseconds since 1970. */
export interface JobState extends Omit<WorkState, 'nextAt'> {
  readonly name: string;
  /** Whether each node does it, or one for all. */
  readonly scope: 'each-node' | 'one-node';
  readonly everySeconds: number;
  /** Null where it is not known. */
  readonly nextAt: number | null;
  /** The name of the node that ran it last, or its id where the name is not known. */
  readonly node: string | null;
}

/** What is known of work that some other part repeats. */
export type ShownState = Partial<Pick<JobState, 'succeededAt' | 'failures' | 'reason'>>;
