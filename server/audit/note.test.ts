import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { test } from 'node:test';
import {
  checkpointText,
  openCheckpoint,
  parseCheckpointText,
  parseNote,
  parseVerifier,
  parseVerifiers,
  signerFromSeed,
  signNote,
  verifyNote,
} from './note.ts';

// From the tests of golang.org/x/mod/sumdb/note, the reference implementation of signed notes.
const knownKey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const knownNote = `If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
`;
// The example of C2SP tlog-checkpoint.
const knownCheckpoint = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
`;

const signer = signerFromSeed('keyreeve.local/ins/1-abc', Buffer.alloc(32, 7));
const checkpoint = {
  origin: signer.verifier.name,
  size: 3,
  root: Buffer.alloc(32, 9),
  continues: undefined,
};
const signedNote = signNote(checkpointText(checkpoint), signer);

test('a note of the reference implementation verifies', () => {
  const verifier = parseVerifier(knownKey);
  assert.equal(verifier.line, knownKey);
  assert.equal(verifyNote(parseNote(knownNote), [verifier]).name, 'PeterNeumann');
  assert.throws(() => verifyNote(parseNote(knownNote.replace('your', 'y0ur')), [verifier]), {
    code: 'record-corrupt',
  });
});

test('the known checkpoint is read', () => {
  const { origin, size, root, continues } = parseCheckpointText(parseNote(knownCheckpoint).text);
  assert.deepEqual([origin, size, continues], ['example.com/behind-the-sofa', 20852163, undefined]);
  assert.equal(root.toString('base64'), 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=');
});

test('a checkpoint comes back as it was signed, also one that continues another', () => {
  assert.deepEqual(openCheckpoint(signedNote, [signer.verifier]), checkpoint);
  const continues = { origin: 'keyreeve.local/ins/1', size: 2, root: Buffer.alloc(32, 1) };
  const note = signNote(checkpointText({ ...checkpoint, continues }), signer);
  assert.deepEqual(openCheckpoint(note, [signer.verifier]), { ...checkpoint, continues });
});

test('a checkpoint of another key, name or text is refused', () => {
  const refused = { code: 'record-corrupt' };
  const stranger = signerFromSeed(checkpoint.origin, Buffer.alloc(32, 8));
  const renamed = signerFromSeed('keyreeve.local/ins/2-abc', Buffer.alloc(32, 7));
  assert.throws(() => openCheckpoint(signedNote, [stranger.verifier]), refused);
  assert.throws(() => openCheckpoint(signedNote, [renamed.verifier]), refused);
  assert.throws(() => openCheckpoint(signedNote, []), refused);
  assert.throws(
    () => openCheckpoint(signNote(checkpointText(checkpoint), renamed), [renamed.verifier]),
    refused,
  );
  assert.throws(
    () => openCheckpoint(signedNote.replace('\n3\n', '\n4\n'), [signer.verifier]),
    refused,
  );
});

test('signatures of strangers are passed over, a wrong one of a known key is not', () => {
  const stranger = signerFromSeed('example.org/witness', Buffer.alloc(32, 8));
  const line = signNote(checkpointText(checkpoint), stranger).split('\n\n')[1]!;
  const both = `${signedNote}${line}`;
  assert.equal(openCheckpoint(both, [signer.verifier]).size, 3);
  const other = signNote('other\n', stranger).split('\n\n')[1]!;
  assert.throws(
    () => openCheckpoint(`${signedNote}${other}`, [signer.verifier, stranger.verifier]),
    {
      code: 'record-corrupt',
    },
  );
});

test('every byte of a signed checkpoint counts', () => {
  const bytes = Buffer.from(signedNote, 'utf8');
  for (let index = 0; index < bytes.length; index++) {
    const copy = Buffer.from(bytes);
    copy[index]! ^= 1 << randomInt(7);
    assert.throws(() => openCheckpoint(copy.toString('utf8'), [signer.verifier]), {
      code: 'record-corrupt',
    });
  }
});

test('notes of any other form are refused, and random text makes no other error', () => {
  const texts = [
    '',
    '\n',
    'a\n\n',
    'a\nb\n',
    `${signedNote}x`,
    signedNote.replace('\n\n', '\n'),
    '\n\n\n',
  ];
  texts.push(signedNote.replaceAll('\n', '\r\n'), signedNote.replace('\u2014', '-'));
  for (let round = 0; round < 500; round++) texts.push(randomBytes(80).toString('latin1'));
  for (const text of texts) {
    assert.throws(() => openCheckpoint(text, [signer.verifier]), { code: 'record-corrupt' });
  }
});

test('sizes have one spelling', () => {
  for (const size of ['03', '-1', '+3', '3.0', '1e3', '', '9007199254740992', ' 3']) {
    const text = checkpointText(checkpoint).replace('\n3\n', `\n${size}\n`);
    assert.throws(() => parseCheckpointText(text), { code: 'record-corrupt' }, size);
  }
});

test('key lines are checked', () => {
  const { line } = signer.verifier;
  assert.equal(parseVerifiers(`# mine\n\n${line}\n`).length, 1);
  const wrong = [
    line.replace(/\+[0-9a-f]{8}\+/, '+00000000+'),
    line.replace('ins', 'sni'),
    'x',
    '',
  ];
  wrong.push(`${line}=`, line.slice(0, -4));
  for (const text of wrong) {
    assert.throws(() => parseVerifier(text), { code: 'invalid-key-material' }, text);
  }
});
