import { test } from 'node:test';
import { killMoves } from './root-key-kill-rounds.ts';

test('a move killed while the service works leaves one root key in force', async (t) => {
  await killMoves(t, true, ['when the new key is in the token']);
});

test('a move killed on the host once the new root key is in force leaves that', async (t) => {
  await killMoves(t, false, ['when the new one is in force']);
});
