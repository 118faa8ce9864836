import { test } from 'node:test';
import { killIssuingRounds } from './kill-issuing-rounds.ts';

test('kill -9 fifty times while certificates are issued loses none that was answered', async (t) => {
  await killIssuingRounds(t, 50);
});
