import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testCli } from '../test/doubles/command-line.ts';
import { requireProgram, run, tryRun } from '../test/tools.ts';

const manualPath = join(import.meta.dirname, '..', 'docs', 'keyreeve.1');

test('bash completes commands, commands below them, and options', async (t) => {
  const bash = requireProgram(t, 'bash');
  if (bash === undefined) return;
  const { out } = await testCli(t).run(['completion', 'bash']);
  const complete = (line: string) => {
    const words = line.split(' ');
    const script = `${out}
      compopt() { :; }
      COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length - 1}
      _keyreeve; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return run(bash, ['--norc', '-c', script]).toString().trim().split('\n').filter(Boolean);
  };
  assert.deepEqual(complete('keyreeve ver'), ['verify', 'verify-mac']);
  assert.deepEqual(complete('keyreeve key d'), ['destroy']);
  assert.deepEqual(complete('keyreeve key create --alg'), ['--algorithm']);
  assert.deepEqual(complete('keyreeve audit verify --ch'), ['--checkpoint']);
  assert.deepEqual(complete('keyreeve key create --algorithm '), []);
  assert.ok(complete('keyreeve ').includes('login'));
});

test('zsh and fish get scripts with every command', async (t) => {
  const cli = testCli(t);
  for (const shell of ['zsh', 'fish']) {
    const { out, code } = await cli.run(['completion', shell]);
    assert.equal(code, 0);
    for (const word of ['cancel-destroy', 'rotate', 'passphrase-file']) {
      assert.ok(out.includes(word), `${shell}: ${word}`);
    }
  }
});

for (const shell of ['zsh', 'fish'] as const) {
  test(`${shell} itself finds no fault in its script`, async (t) => {
    const program = requireProgram(t, shell);
    if (program === undefined) return;
    const cli = testCli(t);
    const { out } = await cli.run(['completion', shell]);
    const script = join(cli.folder, `completion.${shell}`);
    writeFileSync(script, out);
    run(program, ['-n', script]);
  });
}

test('another shell is refused', async (t) => {
  const { code, error } = await testCli(t).run(['completion', 'tcsh']);
  assert.equal(code, 2);
  assert.match(error, /hint: Choose one of: bash, zsh, fish/);
});

test('docs/keyreeve.1 is the manual page of these commands', async (t) => {
  const { out } = await testCli(t).run(['man']);
  if (process.env.KEYREEVE_TEST_WRITE === '1') writeFileSync(manualPath, out);
  assert.equal(
    readFileSync(manualPath, 'utf8'),
    out,
    'write it anew with: node bin/keyreeve.mjs man > docs/keyreeve.1',
  );
});

test('groff reads the manual page without a complaint', async (t) => {
  const groff = requireProgram(t, 'groff');
  if (groff === undefined) return;
  const { out } = await testCli(t).run(['man']);
  const read = tryRun(groff, ['-man', '-Tascii', '-ww', '-P-c'], out);
  assert.equal(read.stderr.toString(), '');
  // Bold comes as a letter printed twice.
  const text = read.stdout.toString().split(/.[\b]/).join('');
  assert.match(text, /keyreeve key create <name>/);
  assert.match(text, /EXIT STATUS/);
});
