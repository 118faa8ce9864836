import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { skip } from '../../test/tools.ts';
import * as asynchronous from './async-files.ts';
import { ensurePrivateFolder, readPrivateFile, requirePrivate } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyreeve-files-'));
after(() => rmSync(folder, { recursive: true }));
const anotherUser = 65_534;

/** Runs the command of a hint, as the operator does. */
function obey(hint: string): void {
  const [command, ...words] = hint.replace('Run: ', '').split(' ');
  execFileSync(command!, words);
}

for (const kind of ['file', 'folder'] as const) {
  test(`a ${kind} of another user is refused, with the command that mends it`, async (t) => {
    if (process.getuid?.() !== 0) return skip(t, 'giving files away takes root');
    const path = join(folder, `foreign-${kind}`);
    if (kind === 'file') writeFileSync(path, 'x', { mode: 0o600 });
    else mkdirSync(path, { mode: 0o700 });
    chownSync(path, anotherUser, anotherUser);
    const foreign = (error: { code: string; message: string; hint: string }) => {
      assert.equal(error.code, 'lax-mode');
      assert.match(error.message, /belongs to another user/);
      hint = error.hint;
      return true;
    };
    let hint = '';
    assert.throws(() => requirePrivate(path, kind), foreign);
    await assert.rejects(asynchronous.requirePrivate(path, kind), foreign);
    if (kind === 'file') assert.throws(() => readPrivateFile(path), foreign);
    else assert.throws(() => ensurePrivateFolder(path), foreign);
    obey(hint);
    requirePrivate(path, kind);
  });

  test(`a ${kind} that others may enter is refused, with the command that mends it`, () => {
    const path = join(folder, `lax-${kind}`);
    if (kind === 'file') writeFileSync(path, 'x');
    else mkdirSync(path);
    let hint = '';
    for (const extra of [0o040, 0o020, 0o010, 0o004, 0o002, 0o001]) {
      chmodSync(path, 0o700 | extra);
      assert.throws(
        () => requirePrivate(path, kind),
        (error: { code: string; hint: string }) => {
          hint = error.hint;
          return error.code === 'lax-mode';
        },
      );
    }
    obey(hint);
    requirePrivate(path, kind);
  });
}
