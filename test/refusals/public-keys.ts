import type { AlgorithmName } from '../../api/algorithms.ts';

/** A SubjectPublicKeyInfo that must be refused, made from a good one of the algorithm. */
export interface BadPublicKey {
  readonly name: string;
  readonly spki: Buffer;
}

/** The points of small order of edwards25519 and curve25519, and other spellings of them. */
const edwardsPoints: Readonly<Record<string, string>> = {
  'order 1': `01${'00'.repeat(31)}`,
  'order 1 with the sign bit': `01${'00'.repeat(30)}80`,
  'order 2': `ec${'ff'.repeat(30)}7f`,
  'order 2 with the sign bit': `ec${'ff'.repeat(31)}`,
  'order 4': '00'.repeat(32),
  'order 4 with the sign bit': `${'00'.repeat(31)}80`,
  'order 8': '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'order 8 with the sign bit': '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'order 8, the other': 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'order 1 as p + 1': `ee${'ff'.repeat(30)}7f`,
  'order 4 as p': `ed${'ff'.repeat(30)}7f`,
  'y = p + 3': `f0${'ff'.repeat(30)}7f`,
  'y = 2^255 - 1': `${'ff'.repeat(31)}7f`,
};

const montgomeryPoints: Readonly<Record<string, string>> = {
  'u = 0': '00'.repeat(32),
  'u = 1': `01${'00'.repeat(31)}`,
  'u of order 8': 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  'u of order 8, the other': '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'u = p - 1': `ec${'ff'.repeat(30)}7f`,
  'u = p': `ed${'ff'.repeat(30)}7f`,
  'u = p + 1': `ee${'ff'.repeat(30)}7f`,
  'u = p + 9': `f6${'ff'.repeat(30)}7f`,
  'u = 9 with the top bit': `09${'00'.repeat(30)}80`,
};

/** Public keys that a good one of the algorithm becomes when its encoding or point is spoiled. */
export function badPublicKeys(algorithm: AlgorithmName, spki: Buffer): readonly BadPublicKey[] {
  return [...encodings(spki), ...points(algorithm, spki)];
}

function encodings(spki: Buffer): BadPublicKey[] {
  const longForm = (): Buffer => {
    const header = spki[1]! < 0x80 ? 2 : 2 + (spki[1]! & 0x7f);
    const content = spki.subarray(header);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(content.length);
    return Buffer.concat([Buffer.of(0x30, 0x84), length, content]);
  };
  return [
    { name: 'nothing', spki: Buffer.alloc(0) },
    { name: 'the last byte cut off', spki: spki.subarray(0, -1) },
    { name: 'a byte behind it', spki: Buffer.concat([spki, Buffer.of(0)]) },
    { name: 'a long form of length', spki: longForm() },
    { name: 'more than any key has', spki: Buffer.concat([spki, Buffer.alloc(16 * 1024)]) },
    { name: 'PEM', spki: Buffer.from(`-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n`) },
  ];
}

function points(algorithm: AlgorithmName, spki: Buffer): BadPublicKey[] {
  if (algorithm === 'ed25519') return replaced(spki, edwardsPoints);
  if (algorithm === 'x25519') return replaced(spki, montgomeryPoints);
  if (algorithm.startsWith('p-') || algorithm === 'secp256k1') return ecPoints(spki);
  return [];
}

function replaced(spki: Buffer, list: Readonly<Record<string, string>>): BadPublicKey[] {
  const head = spki.subarray(0, -32);
  return Object.entries(list).map(([name, hex]) => {
    return { name, spki: Buffer.concat([head, Buffer.from(hex, 'hex')]) };
  });
}

// SEC 1, 2.3.3: 04 and both coordinates, 02 or 03 and x alone, 06 or 07 the hybrid form.
function ecPoints(spki: Buffer): BadPublicKey[] {
  const start = pointStart(spki);
  const point = spki.subarray(start);
  const size = (point.length - 1) / 2;
  const identifier = algorithmIdentifier(spki);
  const wrap = (encoded: Buffer): Buffer => {
    const bits = tlv(3, Buffer.concat([Buffer.of(0), encoded]));
    return tlv(0x30, Buffer.concat([identifier, bits]));
  };
  const sign = point[point.length - 1]! & 1;
  const offCurve = Buffer.from(point);
  offCurve[offCurve.length - 1]! ^= 1;
  const hybrid = Buffer.from(point);
  hybrid[0] = 6 + sign;
  return [
    { name: 'a point off the curve', spki: wrap(offCurve) },
    { name: 'the point at infinity', spki: wrap(Buffer.of(0)) },
    {
      name: 'a compressed point',
      spki: wrap(Buffer.concat([Buffer.of(2 + sign), point.subarray(1, 1 + size)])),
    },
    { name: 'a hybrid point', spki: wrap(hybrid) },
    {
      name: 'coordinates of zeros',
      spki: wrap(Buffer.concat([Buffer.of(4), Buffer.alloc(2 * size)])),
    },
    {
      name: 'coordinates of ones',
      spki: wrap(Buffer.concat([Buffer.of(4), Buffer.alloc(2 * size, 0xff)])),
    },
    { name: 'x alone as if both were there', spki: wrap(point.subarray(0, 1 + size)) },
  ];
}

function pointStart(spki: Buffer): number {
  // Behind the algorithm identifier: BIT STRING, its length, no unused bits.
  const bits = spki.subarray(
    spki.indexOf(algorithmIdentifier(spki)) + algorithmIdentifier(spki).length,
  );
  return spki.length - bits.length + (bits[1]! < 0x80 ? 3 : 4);
}

function algorithmIdentifier(spki: Buffer): Buffer {
  const start = spki[1]! < 0x80 ? 2 : 3;
  return spki.subarray(start, start + 2 + spki[start + 1]!);
}

function tlv(tag: number, content: Buffer): Buffer {
  const length = content.length < 0x80 ? [content.length] : [0x81, content.length];
  return Buffer.concat([Buffer.of(tag, ...length), content]);
}
