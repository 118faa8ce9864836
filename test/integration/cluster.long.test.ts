import { test } from 'node:test';
import { clusterRounds } from './cluster-rounds.ts';

const rounds = 5;

test('five minutes in which everything fails in turn lose nothing that was answered', async (t) => {
  await clusterRounds(
    t,
    Array.from(
      { length: rounds },
      () =>
        [
          'everything whole',
          'a node killed',
          'a node frozen',
          'the primary killed and the standby promoted',
          'a node cut off from the database',
          'the old primary made a standby',
          'the standby lost for a while',
          'a node restarted as for an upgrade',
        ] as const,
    ).flat(),
  );
});
