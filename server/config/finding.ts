/** Something about the configuration that has to be mended before the service can start. */
export interface Finding {
  /** The setting it is about. */
  readonly setting: string;
  readonly problem: string;
  readonly hint?: string;
}

export function finding(setting: string, problem: string, hint?: string): Finding {
  return hint === undefined ? { setting, problem } : { setting, problem, hint };
}
