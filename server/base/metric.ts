/** A figure of some part of the service, as the text format of Prometheus has it. */
export interface MetricSample {
  /** Such as `keyreeve_key_uses_total`. */
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge';
  readonly values: readonly MetricValue[];
}

export interface MetricValue {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A figure that goes up and down, without labels. */
export function gauge(name: string, help: string, value: number): MetricSample {
  return { name, help, kind: 'gauge', values: [{ value }] };
}
