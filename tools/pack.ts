// Runs before `npm pack` and `npm publish`: makes the JavaScript that the package holds.
import { dirname } from 'node:path';
import { buildDistribution } from './packing/build.ts';

const root = dirname(import.meta.dirname);

// Standard output is npm's: `npm pack --json` prints its list there.
console.error(`dist: ${buildDistribution(root)} files`);
