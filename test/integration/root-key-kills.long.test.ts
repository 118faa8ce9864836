import { test } from 'node:test';
import { killMoves, type Moment, moments } from './root-key-kill-rounds.ts';

const all = Object.keys(moments) as Moment[];

for (const [isOnline, how] of [
  [true, 'while the service works'],
  [false, 'on the host'],
] as const) {
  test(`a move killed ${how} at any moment leaves one root key in force`, async (t) => {
    await killMoves(t, isOnline, all);
  });
}
