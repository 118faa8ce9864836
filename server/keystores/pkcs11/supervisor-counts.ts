/** What is counted, for metrics. */
export interface SupervisorCounts {
  /** Processes started after the first. */
  readonly restarts: number;
  readonly sessions: number;
  /** Calls that wait for their turn. */
  readonly waiting: number;
  readonly pid: number | undefined;
}
