import { test } from 'node:test';
import { killRounds } from './kill-rounds.ts';

test('kill -9 at random moments loses nothing that was acknowledged', async (t) => {
  await killRounds(t, { rounds: 8 });
});
