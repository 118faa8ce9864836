import type { MetricSample } from '../base/metric.ts';
import { KeystoreGroup, type Pkcs11Metrics } from '../keystores/keystores.ts';
import type { KeystoreRegistry } from './registry.ts';
import type { KeystoreWatch } from './watch.ts';

const tokenFigures = [
  ['calls_total', 'counter', 'Calls that a token answered.', (one) => one.calls],
  ['items_total', 'counter', 'Signatures, decryptions and the like in them.', (one) => one.items],
  [
    'call_seconds_total',
    'counter',
    'What these calls took, waiting included.',
    (one) => one.secondsTotal,
  ],
  ['restarts_total', 'counter', 'Processes started after the first.', (one) => one.restarts],
  ['sessions', 'gauge', 'Sessions that are open.', (one) => one.sessions],
  ['waiting', 'gauge', 'Calls that wait for their turn.', (one) => one.waiting],
] as const satisfies readonly [
  string,
  MetricSample['kind'],
  string,
  (metrics: Pkcs11Metrics) => number,
][];

/** The figures of the keystores that were added by command. */
export function keystoreSamples(
  registry: KeystoreRegistry,
  watch: KeystoreWatch,
): readonly MetricSample[] {
  const labelled = (name: string, value: number) => ({ labels: { keystore: name }, value });
  const all = registry.all();
  const tokens = all.flatMap(({ keystore }) =>
    keystore instanceof KeystoreGroup ? [] : [{ keystore, metrics: keystore.metrics() }],
  );
  const groups = all.flatMap(({ keystore }) =>
    keystore instanceof KeystoreGroup ? [keystore] : [],
  );
  return [
    {
      ...{ name: 'keyreeve_keystore_ready', kind: 'gauge' },
      help: 'Whether a keystore answers.',
      values: all.map(({ record }) =>
        labelled(record.name, watch.health(record.name)?.ready === true ? 1 : 0),
      ),
    },
    ...tokenFigures.map(([name, kind, help, read]) => ({
      ...{ name: `keyreeve_keystore_${name}`, kind, help },
      values: tokens.map(({ keystore, metrics }) => labelled(keystore.name, read(metrics))),
    })),
    {
      ...{ name: 'keyreeve_keystore_failovers_total', kind: 'counter' },
      help: 'How often the secondary of a group took over.',
      values: groups.map((group) => labelled(group.name, group.counts.failovers)),
    },
    {
      ...{ name: 'keyreeve_keystore_on_secondary', kind: 'gauge' },
      help: 'Whether the secondary of a group does the work.',
      values: groups.map((group) => labelled(group.name, group.active === 'secondary' ? 1 : 0)),
    },
  ];
}
