import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../test/seeded-random.ts';
import { DerReader, DerWriter, derTags, encodeObjectIdentifier, timeRange } from './der.ts';

const limits = { bytesMaximum: 1024 * 1024 };

function read(writer: DerWriter): DerReader {
  return DerReader.over(writer.finish(), limits);
}

test('lengths of every form are written minimally, at every depth', () => {
  for (const length of [0, 1, 120, 127, 128, 250, 255, 256, 65_530, 65_535, 65_536, 70_000]) {
    const content = Buffer.alloc(length, 7);
    const writer = new DerWriter(1);
    writer.sequence(() => {
      writer.constructed(0xa3, () => writer.element(derTags.octetString, content));
      writer.smallNumber(length);
    });
    const outer = read(writer).sequence();
    assert.ok(outer.enter(0xa3).content(derTags.octetString).equals(content));
    assert.equal(outer.smallNumber(), length);
    outer.finish();
  }
});

test('a reader takes the elements that it is asked for, and refuses others', () => {
  const writer = new DerWriter();
  writer.sequence(() => {
    writer.element(derTags.boolean, Buffer.of(0xff)).element(derTags.null, Buffer.alloc(0));
    writer.unsigned(Buffer.from('ff00', 'hex')).smallNumber(0).smallNumber(128);
    writer.bitString(Buffer.of(1, 2)).utf8(derTags.utf8String, 'Zürich');
    writer.ascii(derTags.ia5String, 'abc');
  });
  const reader = read(writer).sequence();
  assert.throws(() => reader.null(), { reason: 'structure' });
  assert.equal(reader.boolean(), true);
  reader.null();
  assert.equal(reader.unsignedBytes().toString('hex'), 'ff00');
  assert.equal(reader.unsigned(1), 0n);
  assert.equal(reader.smallNumber(), 128);
  assert.equal(reader.enterOptional(derTags.sequence), undefined);
  assert.deepEqual([...reader.bitStringBytes()], [1, 2]);
  assert.throws(() => reader.finish(), { reason: 'structure' });
  assert.equal(reader.any().content.toString(), 'Zürich');
  assert.equal(reader.content(derTags.ia5String).toString(), 'abc');
  assert.ok(reader.isAtEnd);
  assert.throws(() => reader.element(), { reason: 'structure' });
  assert.throws(() => reader.nextTag, { reason: 'structure' });
});

test('numbers outside of what is asked for are refused', () => {
  const over = (hex: string) => DerReader.over(Buffer.from(hex, 'hex'), limits);
  assert.throws(() => over('0201ff').unsignedBytes(), { reason: 'value' });
  assert.throws(() => over('0201ff').smallNumber(), { reason: 'value' });
  assert.throws(() => over('02050080000000').smallNumber(), { reason: 'value' });
  assert.equal(over('02047fffffff').smallNumber(), 2 ** 31 - 1);
  assert.throws(() => over('02020100').unsigned(1), { reason: 'value' });
  assert.throws(() => over('03020780').bitStringBytes(), { reason: 'bit-string' });
});

test('named bits are read without zeros behind them', () => {
  const over = (hex: string) => DerReader.over(Buffer.from(hex, 'hex'), limits).namedBits();
  assert.deepEqual(over('03020780'), [0]);
  assert.deepEqual(over('03020106'), [5, 6]);
  assert.deepEqual(over('0303070080'), [8]);
  assert.deepEqual(over('030100'), []);
  for (const hex of ['03020680', '03020080', '0303000100', '03020700']) {
    assert.throws(() => over(hex), { reason: 'bit-string' }, hex);
  }
});

test('members of a SET are written in order', () => {
  const writer = new DerWriter();
  writer.setOf(
    [
      Buffer.from('0202ffff', 'hex'),
      Buffer.from('020102', 'hex'),
      Buffer.from('0500', 'hex'),
    ].slice(0, 2),
  );
  assert.equal(writer.finish().toString('hex'), '31070201020202ffff');
});

test('a list without members is left out where that is asked for', () => {
  const writer = new DerWriter();
  writer.sequence(() => void writer.constructedUnlessEmpty(0xa0, () => {}));
  assert.equal(writer.finish().toString('hex'), '3000');
});

test('times agree with Date on every kind of day, and come back', () => {
  const random = seededRandom(5);
  const span = (timeRange.latest - timeRange.earliest) / 1000;
  const times = Array.from(
    { length: 5000 },
    () => timeRange.earliest + (random(2 ** 32) % span) * 1000,
  );
  const centuries = [1900, 1950, 1999, 2000, 2049, 2050, 2099, 2100, 2400, 9999].flatMap((year) => [
    Date.UTC(year, 1, 28, 23, 59, 59),
    Date.UTC(year, 2, 1),
    Date.UTC(year, 11, 31, 23, 59, 59),
  ]);
  for (const time of [...times, ...centuries, timeRange.earliest, timeRange.latest]) {
    if (time < timeRange.earliest) continue;
    const digits = new Date(time).toISOString().replace(/[-:T]|\.000/g, '');
    const encoded = new DerWriter().time(time).finish();
    const text = encoded.toString('latin1', 2);
    assert.equal(text, time < timeRange.firstGeneralized ? digits.slice(2) : digits);
    assert.equal(DerReader.over(encoded, limits).time(), time);
    const long = new DerWriter().time(time, true).finish();
    assert.equal(long.toString('latin1', 2), digits);
    assert.equal(DerReader.over(long, limits).time(), time);
  }
  for (const bad of [timeRange.earliest - 1000, timeRange.latest + 1000, 1, Number.NaN]) {
    assert.throws(() => new DerWriter().time(bad), { reason: 'value' });
  }
});

test('object identifiers come back as they were written, with arcs of any size', () => {
  for (const text of [
    '0.0',
    '0.39',
    '1.39.1',
    '2.0',
    '2.39.5',
    '2.40',
    '2.999.3',
    '1.2.840.113549.1.1.11',
    '2.25.329800735698586629295641978511506172918',
    '1.3.6.1.4.1.4294967296.9007199254740993',
  ]) {
    const encoded = new DerWriter()
      .element(derTags.objectIdentifier, encodeObjectIdentifier(text))
      .finish();
    assert.equal(DerReader.over(encoded, limits).objectIdentifier(), text);
  }
  assert.equal(encodeObjectIdentifier('2.999.3').toString('hex'), '883703');
  for (const text of [
    '',
    '1',
    '1.40',
    '3.1',
    '1.2.',
    '1..2',
    '01.2',
    '1.2.03',
    'a.b',
    `1.2.${'9'.repeat(300)}`,
  ]) {
    assert.throws(() => encodeObjectIdentifier(text), { reason: 'object-identifier' }, text);
  }
});
