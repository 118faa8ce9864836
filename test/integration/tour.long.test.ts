import { test } from 'node:test';
import { takeTour } from './tour-steps.ts';

test('the tour of the README works as written', (t) => takeTour(t, { isShort: false }));
