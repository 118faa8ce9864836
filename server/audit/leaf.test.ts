import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { test } from 'node:test';
import type { EntryDraft } from '../../api/entry.ts';
import { entryFields } from '../../api/entry.ts';
import {
  checkOpening,
  decodeLeaf,
  decodeOpening,
  encodeEntry,
  encodeOpening,
  entryValueLimitBytes,
  fieldName,
  fieldNumber,
  openingLimitBytes,
} from './leaf.ts';
import { formatOpenings, parseOpenings } from './opening-lines.ts';

const draft: EntryDraft = {
  id: 'ent_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  time: '2026-01-02T03:04:05.678Z',
  kind: 'use',
  action: 'key.sign',
  outcome: 'ok',
  principalName: 'Zoë \u{1f511} \u0000 "quoted"',
  keyId: '',
  detail: '{}',
};

test('a leaf is what the format says, computed another way', () => {
  const { leaf, opening } = encodeEntry(draft);
  const fields = decodeOpening(opening);
  const present = Object.entries(entryFields).filter(([name]) => name in draft);
  const parts = [Buffer.of(1, present.length)];
  for (const [index, [name, number]] of present.entries()) {
    const hash = createHash('sha256').update(Buffer.of(2, number)).update(fields[index]!.salt);
    hash.update(draft[name as keyof EntryDraft] as string, 'utf8');
    parts.push(Buffer.of(number), hash.digest());
  }
  assert.deepEqual(Buffer.from(leaf), Buffer.concat(parts));
  assert.deepEqual(
    fields.map(({ field, value }) => [fieldName(field), value]),
    present.map(([name]) => [name, draft[name as keyof EntryDraft]]),
  );
});

test('the same entry never makes the same leaf or salt twice', () => {
  const salts = new Set<string>();
  for (let round = 0; round < 500; round++) {
    for (const { salt } of decodeOpening(encodeEntry(draft).opening))
      salts.add(salt.toString('hex'));
  }
  assert.equal(salts.size, 500 * 8);
});

test('an opening fits its own leaf, whole and redacted, and no other', () => {
  const entry = encodeEntry(draft);
  const leaf = decodeLeaf(entry.leaf);
  const opening = decodeOpening(entry.opening);
  assert.deepEqual(checkOpening(leaf, opening), []);
  assert.deepEqual(checkOpening(leaf, opening.slice(3, 5)), []);
  assert.deepEqual(checkOpening(leaf, []), []);
  const other = decodeLeaf(encodeEntry(draft).leaf);
  assert.equal(checkOpening(other, opening).length, 8);
  const { keyId: _, ...less } = draft;
  const fewer = decodeLeaf(encodeEntry(less).leaf);
  assert.ok(
    checkOpening(fewer, opening).some(({ field, reason }) => field === 12 && reason === 'absent'),
  );
});

test('a value moved to another field is found', () => {
  const entry = encodeEntry(draft);
  const opening = decodeOpening(entry.opening);
  const input = Buffer.from(opening[5]!.input);
  input[1] = 8;
  const moved = decodeOpening(encodeOpening(opening.with(5, { ...opening[5]!, field: 8, input })));
  assert.deepEqual(checkOpening(decodeLeaf(entry.leaf), moved), [{ field: 8, reason: 'absent' }]);
});

test('every bit of leaf and opening counts', () => {
  const entry = encodeEntry(draft);
  const good = Buffer.from(entry.leaf).toString('hex');
  for (let round = 0; round < 2000; round++) {
    const inLeaf = round % 2 === 0;
    const bytes = Buffer.from(inLeaf ? entry.leaf : entry.opening);
    bytes[randomInt(bytes.length)]! ^= 1 << randomInt(8);
    const [leaf, opening] = inLeaf ? [bytes, entry.opening] : [entry.leaf, bytes];
    let problems = 0;
    try {
      problems = checkOpening(decodeLeaf(leaf), decodeOpening(opening)).length;
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'integrity-failed');
      problems = 1;
    }
    // Dropping a field at the end of the opening is redaction; here bytes would be left over.
    assert.ok(problems > 0, `${good}\n${bytes.toString('hex')}`);
  }
});

test('leaves of any other form are refused', () => {
  const leaf = Buffer.from(encodeEntry(draft).leaf);
  const field = (index: number) => leaf.subarray(2 + 33 * index, 2 + 33 * (index + 1));
  const withFields = (...indexes: number[]) =>
    Buffer.concat([Buffer.of(1, indexes.length), ...indexes.map(field)]);
  assert.equal(decodeLeaf(withFields(0, 1, 2, 3, 4)).length, 5);
  const wrong = {
    'another version': Buffer.concat([Buffer.of(2), leaf.subarray(1)]),
    'a repeated field': withFields(0, 1, 2, 3, 4, 5, 5),
    'fields out of order': withFields(0, 1, 2, 4, 3),
    'a required field missing': withFields(0, 1, 3, 4),
    'bytes at the end': Buffer.concat([leaf, Buffer.of(0)]),
    'a cut': leaf.subarray(0, -1),
    'a wrong count': leaf.with(1, leaf[1]! - 1),
    'field zero': Buffer.concat([Buffer.of(1, 6), Buffer.alloc(33), leaf.subarray(2, 167)]),
    nothing: Buffer.alloc(0),
  };
  for (const [name, bytes] of Object.entries(wrong)) {
    assert.throws(() => decodeLeaf(bytes), { code: 'integrity-failed' }, name);
  }
});

test('openings of any other form are refused', () => {
  const opening = decodeOpening(encodeEntry(draft).opening);
  const latin = Buffer.concat([opening[0]!.input.subarray(0, 18), Buffer.of(0xff)]);
  const wrong = {
    'fields out of order': encodeOpening([opening[1]!, opening[0]!]),
    'a repeated field': encodeOpening([opening[0]!, opening[0]!]),
    'a value that is not UTF-8': encodeOpening([{ ...opening[0]!, input: latin }]),
    'a short field': encodeOpening([{ ...opening[0]!, input: latin.subarray(0, 17) }]),
    'bytes at the end': Buffer.concat([encodeOpening(opening), Buffer.of(0)]),
    nothing: Buffer.alloc(0),
  };
  for (const [name, bytes] of Object.entries(wrong)) {
    assert.throws(() => decodeOpening(bytes), { code: 'integrity-failed' }, name);
  }
});

test('decoders take random bytes without any other error', () => {
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(Array.from({ length: randomInt(200) }, () => randomInt(4)));
    for (const decode of [decodeLeaf, decodeOpening]) {
      try {
        decode(bytes);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'integrity-failed');
      }
    }
    parseOpenings(bytes.toString('latin1'), 0, 3);
  }
});

test('values and entries have a limit, at its very edge', () => {
  const edge = 'x'.repeat(entryValueLimitBytes);
  assert.equal(decodeOpening(encodeEntry({ ...draft, detail: edge }).opening).at(-1)!.value, edge);
  const refused = { code: 'invalid-request' };
  assert.throws(() => encodeEntry({ ...draft, detail: `${edge}x` }), refused);
  assert.throws(
    () => encodeEntry({ ...draft, detail: 'é'.repeat(entryValueLimitBytes / 2 + 1) }),
    refused,
  );
  assert.ok(openingLimitBytes < 2 * entryValueLimitBytes + 1);
  assert.throws(() => encodeEntry({ ...draft, detail: edge, resource: edge }), refused);
});

test('an entry without a required field is refused', () => {
  const { outcome: _, ...less } = draft;
  assert.throws(() => encodeEntry(less as EntryDraft), { code: 'invalid-request' });
});

test('openings survive the way through lines of JSON, and wrong lines are named', () => {
  const opening = decodeOpening(encodeEntry(draft).opening);
  const text = formatOpenings(3, [opening, opening], new Set(['principalName']));
  const [first] = parseOpenings(text, 3, 2);
  assert.ok(Array.isArray(first) && first.length === 7);
  assert.deepEqual(
    first,
    opening.filter(({ field }) => field !== 7),
  );
  const broken = (lines: string) => parseOpenings(lines, 3, 2).map((item) => 'problem' in item);
  const [one, two] = text.split('\n') as [string, string];
  assert.deepEqual(broken(`${one}\n`), [false, true]);
  assert.deepEqual(broken(`${one}\n${one}\n`), [true, true]);
  assert.deepEqual(broken(`${one}\n${two}\n${two.replace('769', '770')}\n`), [false, false, true]);
  assert.deepEqual(broken(`${one.replace('"id"', '"di"')}\n${two}\n`), [true, false]);
  assert.deepEqual(broken(`${one}\nnull\n`), [false, true]);
  assert.deepEqual(broken(`${one}\n${two.replace('{"salt":"', '{"salt":"0')}\n`), [false, true]);
});

test('fields of newer versions have a name, known names have one spelling', () => {
  assert.equal(fieldName(200), 'field-200');
  assert.equal(fieldNumber('field-200'), 200);
  assert.equal(fieldNumber('id'), 1);
  for (const name of ['field-1', 'field-0', 'field-256', 'field-021', 'toString', '__proto__']) {
    assert.equal(fieldNumber(name), undefined, name);
  }
});
