import { test } from 'node:test';
import { killIssuingRounds } from './kill-issuing-rounds.ts';

test('kill -9 while certificates are issued loses none that was answered, and revokes the rest', async (t) => {
  await killIssuingRounds(t, 3);
});
