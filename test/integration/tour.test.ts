import { test } from 'node:test';
import { takeTour } from './tour-steps.ts';

// tour.long.test.ts runs every word of it, with the file of a gigabyte.
test('the tour of the README works', (t) => takeTour(t, { isShort: true }));
