import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import { isKeyreeveError } from '../server/base/errors.ts';
import { openSignedCheckpoint } from './checkpoint.ts';

const root = Buffer.alloc(32, 9).toString('base64');

/** A log key and its line, made here after C2SP signed-note and not by the code of the server. */
function makeLog(name: string): { line: string; id: string; privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const typed = Buffer.concat([Buffer.of(1), raw]);
  const id = createHash('sha256').update(`${name}\n`).update(typed).digest('hex').slice(0, 8);
  return { line: `${name}+${id}+${typed.toString('base64')}`, id, privateKey };
}

function note(text: string, name: string, log: ReturnType<typeof makeLog>): string {
  const signature = sign(null, Buffer.from(text), log.privateKey);
  const bytes = Buffer.concat([Buffer.from(log.id, 'hex'), signature]);
  return `${text}\n\u2014 ${name} ${bytes.toString('base64')}\n`;
}

const corrupt = (error: unknown) => isKeyreeveError(error, 'record-corrupt');

test('a checkpoint that the log signed is opened', () => {
  const log = makeLog('example/log');
  const signed = note(`example/log\n12\n${root}\n`, 'example/log', log);
  const opened = openSignedCheckpoint(signed, `# mine\n${makeLog('other').line}\n${log.line}\n`);
  assert.deepEqual(opened, { origin: 'example/log', size: 12, root });
});

test('another key, another origin, and any altered letter are refused', () => {
  const log = makeLog('example/log');
  const signed = note(`example/log\n12\n${root}\n`, 'example/log', log);
  assert.throws(() => openSignedCheckpoint(signed, makeLog('example/log').line), corrupt);
  assert.throws(() => openSignedCheckpoint(signed.replace('\n12\n', '\n13\n'), log.line), corrupt);
  const foreign = note(`other/log\n12\n${root}\n`, 'example/log', log);
  assert.throws(() => openSignedCheckpoint(foreign, log.line), corrupt);
  assert.throws(() => openSignedCheckpoint(signed, ''), corrupt);
  for (const text of ['', 'x', `example/log\n-1\n${root}\n`, 'example/log\n1\nshort\n']) {
    assert.throws(
      () => openSignedCheckpoint(note(text, 'example/log', log), log.line),
      corrupt,
      text,
    );
  }
});

test('a key line whose id is not that of its key is refused', () => {
  const log = makeLog('example/log');
  const wrong = log.line.replace(`+${log.id}+`, '+00000000+');
  assert.throws(
    () => openSignedCheckpoint(note(`example/log\n1\n${root}\n`, 'example/log', log), wrong),
    (error) => isKeyreeveError(error, 'invalid-key-material'),
  );
});
