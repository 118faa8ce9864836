import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testCli } from '../test/doubles/command-line.ts';
import { formatDetails, formatTable, usesColour } from './output.ts';
import { formatBytes, formatProgress } from './progress.ts';
import { renderError, soften } from './render-error.ts';

test('columns are aligned, and lines end where the terminal does', () => {
  const rows = [
    ['release', 'sign'],
    ['a', 'encrypt'],
  ];
  assert.deepEqual(formatTable(['NAME', 'PURPOSE'], rows, undefined), [
    'NAME     PURPOSE',
    'release  sign',
    'a        encrypt',
  ]);
  assert.deepEqual(formatTable(['NAME', 'PURPOSE'], rows, 10), [
    'NAME     …',
    'release  …',
    'a        …',
  ]);
});

test('control characters of others never reach the terminal', () => {
  const [, line] = formatTable(['NAME'], [['a\u001b[2Jb\nc\u202e']], undefined);
  assert.equal(line, 'a?[2Jb?c?');
  assert.deepEqual(
    formatDetails([
      ['name', 'x\u0007'],
      ['none', undefined],
    ]),
    ['name: x?'],
  );
});

test('colour is for terminals without NO_COLOR', (t) => {
  const cli = testCli(t);
  const world = cli.context('', { terminal: true });
  assert.equal(usesColour(world, world.standardOutput), true);
  cli.env.NO_COLOR = '1';
  assert.equal(usesColour(world, world.standardOutput), false);
  delete cli.env.NO_COLOR;
  const piped = cli.context();
  assert.equal(usesColour(piped, piped.standardOutput), false);
});

test('an error begins in lower case and has no full stop', () => {
  assert.equal(soften('The key is gone.'), 'the key is gone');
  assert.equal(soften('RSA keys are longer.'), 'RSA keys are longer');
  assert.equal(soften('AES is'), 'AES is');
  assert.equal(soften('/tmp/A: wait...'), '/tmp/A: wait...');
});

test('an error that nobody foresaw is reported as a fault, without its stack', (t) => {
  const world = testCli(t).context();
  assert.equal(renderError(world, new TypeError('x is not a function'), false), 1);
  assert.match(world.seen().error, /^error: x is not a function\nhint: This is a fault/);
  assert.doesNotMatch(world.seen().error, /\n\s+at /);
});

test('progress shows part, amount and rate', () => {
  const mebibyte = 1024 * 1024;
  assert.equal(
    formatProgress('encrypting', 512 * mebibyte, 1024 * mebibyte, 2),
    `encrypting [${'#'.repeat(12)}${'-'.repeat(12)}] 50 %, 512 MiB, 256 MiB/s`,
  );
  assert.equal(formatProgress('encrypting', 1536, undefined, 0), 'encrypting 1.5 KiB');
  assert.equal(formatBytes(1023), '1023 B');
});
