import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readPassphraseFile } from './passphrase-file.ts';

test('the passphrase is the first line of a file that nobody else may read', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-passphrase-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'passphrase');
  const read = (text: string) => {
    writeFileSync(path, text, { mode: 0o600 });
    return readPassphraseFile(path)?.reveal().toString('utf8');
  };
  for (const end of ['', '\n', '\r\n', '\nanother line\n']) {
    assert.equal(read(`correct horse ${end}`), 'correct horse ');
  }
  for (const empty of ['', '\n', '\r\nx']) {
    assert.throws(() => read(empty), { code: 'config-invalid' });
  }
  read('open to others');
  chmodSync(path, 0o640);
  assert.throws(() => readPassphraseFile(path), { code: 'lax-mode' });
  assert.equal(readPassphraseFile(undefined), undefined);
});
