import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { ErrorCode } from '../api/error-codes.ts';
import { isKeyreeveError, KeyreeveError } from '../server/base/errors.ts';
import type { SecretBytes } from '../server/base/secret-bytes.ts';
import {
  contentOf,
  encryptBytes,
  pieceBytes,
  streamOf,
  testDataKey,
  testFileKey,
} from '../test/file-format-cases.ts';
import { requireProgram, skip } from '../test/tools.ts';
import { decryptFile, encryptFile } from './encrypted-file.ts';
import { heldInMemoryMaximumBytes, writeWholeFile } from './encrypted-file-output.ts';

let folder = '';
let plain = '';
let locked = '';
let opened = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keyreeve-encrypted-file-'));
  plain = join(folder, 'plain');
  locked = join(folder, 'locked.keyreeve');
  opened = join(folder, 'opened');
});
afterEach(() => rmSync(folder, { recursive: true }));

const obtainForWriting = async () => testFileKey();
const obtainForReading = async () => testDataKey();

test('an output is private unless another mode is asked for', async () => {
  const modeOf = (path: string) => statSync(path).mode & 0o777;
  await writeWholeFile(opened, false, streamOf(Buffer.from('a')));
  assert.equal(modeOf(opened), 0o600);
  await writeWholeFile(opened, true, streamOf(Buffer.from('b')), 0o644);
  assert.equal(modeOf(opened), 0o644);
});

function hasCode(code: ErrorCode) {
  return (error: unknown) => isKeyreeveError(error, code);
}

function sink(): { output: Writable; bytes: () => Buffer } {
  const pieces: Buffer[] = [];
  const output = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(Buffer.from(piece));
      setImmediate(done);
    },
  });
  return { output, bytes: () => Buffer.concat(pieces) };
}

describe('files', () => {
  for (const length of [0, 1, pieceBytes, 3_000_000]) {
    test(`a file of ${length} bytes is encrypted and decrypted, readable by its owner alone`, async () => {
      writeFileSync(plain, contentOf(length));
      const encrypt = { inPath: plain, outPath: locked, obtainDataKey: obtainForWriting };
      await encryptFile(encrypt);
      const header = await decryptFile({
        inPath: locked,
        outPath: opened,
        obtainDataKey: obtainForReading,
      });
      assert.equal(header.keyId, testFileKey().keyId);
      assert.equal(header.keyVersion, 3);
      assert.ok(readFileSync(opened).equals(contentOf(length)));
      for (const path of [locked, opened]) assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.deepEqual(readdirSync(folder).sort(), ['locked.keyreeve', 'opened', 'plain']);
    });
  }

  test('progress starts at zero, grows, and ends at the length of the input', async () => {
    writeFileSync(plain, contentOf(3_000_000));
    const seen: [number, number | undefined][] = [];
    await encryptFile({
      inPath: plain,
      outPath: locked,
      obtainDataKey: obtainForWriting,
      onProgress: (done, total) => seen.push([done, total]),
    });
    assert.deepEqual(seen[0], [0, 3_000_000]);
    assert.deepEqual(seen.at(-1), [3_000_000, 3_000_000]);
    for (const [index, [done]] of seen.entries())
      assert.ok(index === 0 || done > seen[index - 1]![0]);
  });

  test('the data key is disposed of, also on failure', async () => {
    const given: SecretBytes[] = [];
    const remember = (dataKey: SecretBytes) => {
      given.push(dataKey);
      return dataKey;
    };
    writeFileSync(plain, contentOf(10));
    const encrypt = async () => ({ ...testFileKey(), dataKey: remember(testDataKey()) });
    await encryptFile({ inPath: plain, outPath: locked, obtainDataKey: encrypt });
    const obtainDataKey = async () => remember(testDataKey());
    await decryptFile({ inPath: locked, outPath: opened, obtainDataKey });
    writeFileSync(locked, Buffer.concat([readFileSync(locked), Buffer.alloc(1)]));
    await assert.rejects(
      decryptFile({ inPath: locked, outPath: opened, force: true, obtainDataKey }),
      hasCode('invalid-ciphertext'),
    );
    assert.equal(given.length, 3);
    for (const dataKey of given) assert.throws(() => dataKey.reveal(), /disposal/);
  });
});

describe('outputs', () => {
  test('an existing file is refused before a key is asked for, and kept', async () => {
    writeFileSync(plain, contentOf(10));
    writeFileSync(locked, 'precious');
    const never = () => assert.fail('no key is needed');
    const paths = { inPath: plain, outPath: locked };
    await assert.rejects(
      encryptFile({ ...paths, obtainDataKey: never }),
      hasCode('already-exists'),
    );
    await assert.rejects(
      decryptFile({ ...paths, obtainDataKey: never }),
      hasCode('already-exists'),
    );
    assert.equal(readFileSync(locked, 'utf8'), 'precious');
  });

  test('an existing file is replaced by force, even the input itself', async () => {
    writeFileSync(plain, contentOf(200_000), { mode: 0o644 });
    const paths = { inPath: plain, outPath: plain, force: true };
    await encryptFile({ ...paths, obtainDataKey: obtainForWriting });
    assert.equal(statSync(plain).mode & 0o777, 0o600);
    await decryptFile({ ...paths, obtainDataKey: obtainForReading });
    assert.ok(readFileSync(plain).equals(contentOf(200_000)));
  });

  test('a file that appears meanwhile is not replaced', async () => {
    writeFileSync(plain, contentOf(10));
    const obtainDataKey = async () => testFileKey();
    async function* slow() {
      yield contentOf(10);
      writeFileSync(locked, 'the other was quicker');
    }
    await assert.rejects(
      encryptFile({ inPath: '-', outPath: locked, obtainDataKey, standardInput: slow() }),
      hasCode('already-exists'),
    );
    assert.equal(readFileSync(locked, 'utf8'), 'the other was quicker');
    assert.deepEqual(readdirSync(folder).sort(), ['locked.keyreeve', 'plain']);
  });

  test('what is not a plain file is refused, with and without force', async () => {
    writeFileSync(plain, contentOf(10));
    const link = join(folder, 'link');
    symlinkSync(plain, link);
    mkdirSync(join(folder, 'sub'));
    for (const outPath of ['/dev/null', link, join(folder, 'sub')]) {
      for (const force of [false, true]) {
        await assert.rejects(
          encryptFile({ inPath: plain, outPath, force, obtainDataKey: obtainForWriting }),
          hasCode('invalid-request'),
          outPath,
        );
      }
    }
    assert.ok(statSync('/dev/null').isCharacterDevice());
  });

  test('damage, a failing source and a failing server leave nothing behind', async () => {
    const file = await encryptBytes(contentOf(5_000_000));
    writeFileSync(locked, file.subarray(0, file.length - 1));
    const decrypt = { inPath: locked, outPath: opened, obtainDataKey: obtainForReading };
    await assert.rejects(decryptFile(decrypt), hasCode('invalid-ciphertext'));
    async function* failing() {
      yield contentOf(3_000_000);
      throw new Error('the line broke');
    }
    const standardInput = failing();
    await assert.rejects(
      encryptFile({
        inPath: '-',
        outPath: opened,
        obtainDataKey: obtainForWriting,
        standardInput,
      }),
      /the line broke/,
    );
    const obtainDataKey = async () => {
      throw new KeyreeveError('forbidden', 'Not with this key.');
    };
    await assert.rejects(decryptFile({ ...decrypt, obtainDataKey }), hasCode('forbidden'));
    assert.deepEqual(readdirSync(folder), ['locked.keyreeve']);
  });

  test('damage keeps the file that force would have replaced', async () => {
    const file = await encryptBytes(contentOf(100_000));
    file[file.length - 1]! ^= 1;
    writeFileSync(locked, file);
    writeFileSync(opened, 'the good copy');
    const decrypt = { inPath: locked, outPath: opened, force: true };
    await assert.rejects(
      decryptFile({ ...decrypt, obtainDataKey: obtainForReading }),
      hasCode('invalid-ciphertext'),
    );
    assert.equal(readFileSync(opened, 'utf8'), 'the good copy');
  });

  test('missing inputs and folders are named', async () => {
    writeFileSync(plain, contentOf(10));
    const obtainDataKey = obtainForWriting;
    for (const [inPath, outPath, code] of [
      [join(folder, 'absent'), locked, 'not-found'],
      [folder, locked, 'invalid-request'],
      [plain, join(folder, 'absent', 'out'), 'not-found'],
    ] as const) {
      await assert.rejects(
        encryptFile({ inPath, outPath, obtainDataKey }),
        (error) => isKeyreeveError(error, code) && error.message.includes(folder),
      );
    }
  });

  test('a full disk is reported and leaves nothing behind', async (t) => {
    const mount = requireProgram(t, 'mount');
    if (mount === undefined) return;
    const small = join(folder, 'small');
    mkdirSync(small);
    const mounted = spawnSync(mount, ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', small]);
    if (mounted.status !== 0) return skip(t, 'a small file system cannot be mounted here');
    try {
      writeFileSync(plain, contentOf(6_000_000));
      const outPath = join(small, 'out');
      await assert.rejects(
        encryptFile({ inPath: plain, outPath, obtainDataKey: obtainForWriting }),
        hasCode('storage-full'),
      );
      assert.deepEqual(readdirSync(small), []);
    } finally {
      spawnSync('umount', [small]);
    }
  });
});

describe('standard input and output', () => {
  for (const length of [0, 100_000, heldInMemoryMaximumBytes + 3 * pieceBytes + 5]) {
    test(`${length} bytes pass through both directions`, async () => {
      const content = contentOf(length);
      const encrypted = sink();
      const totals = new Set<number | undefined>();
      await encryptFile({
        inPath: '-',
        outPath: '-',
        obtainDataKey: obtainForWriting,
        standardInput: streamOf(content, 100_000),
        standardOutput: encrypted.output,
        onProgress: (_, total) => totals.add(total),
      });
      assert.deepEqual([...totals], [undefined]);
      const decrypted = sink();
      await decryptFile({
        inPath: '-',
        outPath: '-',
        obtainDataKey: obtainForReading,
        standardInput: streamOf(encrypted.bytes(), 100_000),
        standardOutput: decrypted.output,
      });
      assert.ok(decrypted.bytes().equals(content));
    });

    test(`of ${length} damaged bytes none is released`, async () => {
      const file = await encryptBytes(contentOf(length));
      file[file.length - 1]! ^= 1;
      const decrypted = sink();
      await assert.rejects(
        decryptFile({
          inPath: '-',
          outPath: '-',
          obtainDataKey: obtainForReading,
          standardInput: streamOf(file, 100_000),
          standardOutput: decrypted.output,
        }),
        hasCode('invalid-ciphertext'),
      );
      assert.equal(decrypted.bytes().length, 0);
    });
  }

  test('a slow output holds the input back', async () => {
    let written = 0;
    let ahead = 0;
    const standardOutput = new Writable({
      write(piece: Buffer, _encoding, done) {
        written += piece.length;
        setImmediate(done);
      },
    });
    async function* source() {
      for (let read = 0; read < 100 * pieceBytes; read += pieceBytes) {
        ahead = Math.max(ahead, read - written);
        yield contentOf(pieceBytes);
      }
    }
    await encryptFile({
      inPath: '-',
      outPath: '-',
      obtainDataKey: obtainForWriting,
      standardInput: source(),
      standardOutput,
    });
    assert.ok(ahead <= 2 * pieceBytes, `${ahead} bytes ahead`);
  });
});
