import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireProgram, tryRun } from '../test/tools.ts';
import { makeTree } from '../tools/testing/tree.ts';

const read = (name: string) => readFileSync(join(import.meta.dirname, name), 'utf8');

test('systemd accepts the unit and calls it well protected', (t) => {
  const analyze = requireProgram(t, 'systemd-analyze');
  if (analyze === undefined) return;
  // The program and the manual are not installed here; the rest is checked as it is.
  const unit = read('keyreeve.service')
    .replace(/^ExecStart=\S+/m, 'ExecStart=/bin/true')
    .replace(/^Documentation=.*$/m, '');
  const root = makeTree(t, { 'keyreeve.service': unit });
  const verified = tryRun(analyze, ['verify', join(root, 'keyreeve.service')]);
  assert.deepEqual([verified.status, verified.stderr.toString()], [0, '']);

  const path = join(root, 'keyreeve.service');
  const limit = ['security', '--offline=true', '--threshold=20', path];
  const judged = tryRun(analyze, limit);
  assert.equal(judged.status, 0, judged.stdout.toString() + judged.stderr.toString());
});

test('a mistake in the unit would be found', (t) => {
  const analyze = requireProgram(t, 'systemd-analyze');
  if (analyze === undefined) return;
  const root = makeTree(t, { 'bad.service': '[Service]\nExecStart=/bin/true\nUmask=0077\n' });
  assert.match(tryRun(analyze, ['verify', join(root, 'bad.service')]).stderr.toString(), /Umask/);
});

test('the service starts the installed command and keeps the root key out of the data', () => {
  const unit = read('keyreeve.service');
  assert.match(unit, /^ExecStart=\S+\/node --disable-sigusr1 \S+\/bin\/keyreeve\.mjs serve$/m);
  assert.match(unit, /^Environment=KEYREEVE_SEAL=credential:root-key$/m);
  assert.match(unit, /^LoadCredentialEncrypted=root-key:/m);
  assert.match(unit, /^UMask=0077$/m);
});

test('the image runs as a plain user and demands that the root key is brought along', () => {
  const file = read('Containerfile');
  assert.match(file, /^USER 10001:10001$/m);
  assert.match(file, /KEYREEVE_CONTAINER=1/);
  assert.doesNotMatch(file, /KEYREEVE_SEAL=/);
  assert.doesNotMatch(file, /^RUN/m);
});

test('the build script is valid for bash', () => {
  const script = join(import.meta.dirname, 'build-image.sh');
  assert.equal(tryRun('bash', ['-n', script]).status, 0);
});
