import { test } from 'node:test';
import { clusterRounds } from './cluster-rounds.ts';

test('nodes die, freeze and are cut off, and the primary dies: nothing answered is lost', async (t) => {
  await clusterRounds(t, [
    'everything whole',
    'a node killed',
    'a node frozen',
    'a node cut off from the database',
    'the primary killed and the standby promoted',
    'the old primary made a standby',
    'a node restarted as for an upgrade',
  ]);
});
