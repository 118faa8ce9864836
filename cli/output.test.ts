import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testCli } from '../test/doubles/command-line.ts';
import { json } from '../test/doubles/https-service.ts';
import { loggedIn } from '../test/doubles/logged-in.ts';
import { createOutput, formatDetails, formatTable, usesColour } from './output.ts';
import { formatBytes, formatProgress } from './progress.ts';
import { renderError, soften } from './render-error.ts';
import { runCli } from './run.ts';

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

test('lines and JSON of others keep their control characters from the terminal, too', (t) => {
  const world = testCli(t).context();
  const foreign = 'a\u001b[2J\u009b31m\r\n\u202eb\u007f';
  createOutput(world, false).print(`place 3: ${foreign}`);
  assert.equal(world.seen().out, 'place 3: a?[2J?31m???b?\n');
  const other = testCli(t).context();
  createOutput(other, true).data({ foreign });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
  assert.doesNotMatch(other.seen().out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  assert.deepEqual(JSON.parse(other.seen().out), { foreign });
  const third = testCli(t).context();
  renderError(third, new Error(foreign), true);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
  assert.doesNotMatch(third.seen().error, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
});

test('access rules of others reach a file as they are, and a terminal without control characters', async (t) => {
  const policies = '// \u001b]0;owned\u0007\npermit (principal, action, resource);\n';
  const { cli } = await loggedIn(t, (_, response) =>
    json(response, { version: 1, digest: 'd', policies, roles: [] }),
  );
  assert.equal((await cli.run(['access', 'show'])).out, policies);
  const terminal = cli.context('', { terminal: true });
  await runCli(['access', 'show'], terminal);
  assert.equal(terminal.seen().out, '// ?]0;owned?\npermit (principal, action, resource);\n');
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
