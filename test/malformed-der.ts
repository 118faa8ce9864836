import {
  constructedNode,
  copyTree,
  type DerNode,
  headerOf,
  nodesOf,
  readTree,
  simpleNode,
  writeTree,
} from './der-tree.ts';
import { pick, type Random, seededRandom } from './seeded-random.ts';

/**
 * Ways to spoil DER. What comes out is never acceptable, whatever certificate, request or CRL went
 * in: each breaks a rule of X.690 or of the frame that the three share. The input needs a subject with
 * a UTF8String and at least one extension.
 */
export const malformations = {
  empty: () => Buffer.alloc(0),
  'text instead of bytes': () => Buffer.from('not DER at all'),
  truncated: (der) => der.subarray(0, der.length - 3),
  'cut in the header': (der) => der.subarray(0, 3),
  'something behind': (der) => Buffer.concat([der, Buffer.of(0)]),
  'a length of four gigabytes': (der) =>
    Buffer.concat([Buffer.from('3084ffffffff', 'hex'), der.subarray(4)]),
  'indefinite length': (der) => changed(der, () => ({ lengthForm: 'indefinite' })),
  'indefinite length inside': (der) => changedPart(der, 0, () => ({ lengthForm: 'indefinite' })),
  'length not minimal': (der) => changedPart(der, 1, () => ({ lengthForm: { extraBytes: 1 } })),
  'another outer tag': (der) => changed(der, () => ({ tag: 0x31 })),
  'tag of several bytes': (der) =>
    changedPart(der, 1, () => ({ raw: Buffer.from('3f810100', 'hex') })),
  'nested too deeply': (der) =>
    changed(der, (root) => void root.children![1]!.children!.push(deep(60))),
  'nested ten thousand levels deep': (der) =>
    changed(der, (root) => void root.children![1]!.children!.push(deep(10_000))),
  'INTEGER not minimal': (der) =>
    spoilFirst(der, 0x02, (node) => ({ content: Buffer.concat([Buffer.of(0, 0), node.content]) })),
  'empty INTEGER': (der) => spoilFirst(der, 0x02, () => ({ content: Buffer.alloc(0) })),
  'BOOLEAN of BER': (der) => addParameter(der, simpleNode(0x01, Buffer.of(1))),
  'NULL with contents': (der) => addParameter(der, simpleNode(0x05, Buffer.of(0))),
  'OBJECT IDENTIFIER not minimal': (der) =>
    spoilFirst(der, 0x06, (node) => ({ content: Buffer.concat([Buffer.of(0x80), node.content]) })),
  'OBJECT IDENTIFIER that is cut': (der) =>
    spoilFirst(der, 0x06, (node) => ({ content: Buffer.concat([node.content, Buffer.of(0x81)]) })),
  'BIT STRING with wrong unused bits': (der) =>
    changedPart(der, -1, () => ({ content: Buffer.of(3, 0xff) })),
  'BIT STRING with nine unused bits': (der) =>
    changedPart(der, -1, () => ({ content: Buffer.of(9, 0) })),
  'BIT STRING in pieces': (der) =>
    changedPart(der, -1, ({ content }) => ({ tag: 0x23, children: [simpleNode(0x03, content)] })),
  'text that is no UTF-8': (der) =>
    spoilFirst(der, 0x0c, () => ({ content: Buffer.of(0xc3, 0x28) })),
  'SET out of order': (der) => spoilFirst(der, 0x31, putOutOfOrder),
  'SET without members': (der) => spoilFirst(der, 0x31, () => ({ children: [] })),
  'a part missing': (der) => changed(der, (root) => void root.children!.pop()),
  'a part too many': (der) =>
    changed(der, (root) => void root.children!.push(simpleNode(0x05, Buffer.alloc(0)))),
  'a part missing inside': (der) =>
    changed(der, (root) => void root.children![0]!.children!.splice(1, 1)),
  'a part too many inside': (der) =>
    changed(
      der,
      (root) => void root.children![0]!.children!.push(simpleNode(0x04, Buffer.alloc(1))),
    ),
  'parts exchanged': (der) => changed(der, (root) => void root.children!.reverse()),
  'the same extension twice': (der) =>
    spoilExtensions(der, (list) => void list.push(copyTree(list[0]!))),
  'extensions without one': (der) => spoilExtensions(der, (list) => void list.splice(0)),
  'a default written out': (der) =>
    spoilExtensions(der, ([first]) => {
      const parts = first!.children!;
      if (parts[1]!.tag === 0x01) parts.splice(1, 1);
      parts.splice(1, 0, simpleNode(0x01, Buffer.of(0)));
    }),
  'an extension that is no DER': (der) =>
    spoilExtensions(der, ([first]) => {
      first!.children!.at(-1)!.content = Buffer.of(0x30, 0x80);
    }),
} as const satisfies Record<string, (der: Buffer) => Buffer>;

export type MalformationName = keyof typeof malformations;
export const malformationNames = Object.keys(malformations) as MalformationName[];

/**
 * Random changes of the inputs, the same for the same seed. Most of what comes out is malformed,
 * some is not: whoever uses it asks a second reader.
 */
export function* mutations(
  inputs: readonly Buffer[],
  count: number,
  seed: number,
): Generator<{ readonly name: string; readonly bytes: Buffer }> {
  const random = seededRandom(seed);
  const names = Object.keys(randomChanges) as (keyof typeof randomChanges)[];
  for (let round = 0; round < count; round++) {
    const name = names[round % names.length]!;
    yield { name, bytes: randomChanges[name](pick(random, inputs), random) };
  }
}

const randomChanges = {
  'flipped bit': (der, random) => {
    const bytes = Buffer.from(der);
    bytes[random(bytes.length)]! ^= 1 << random(8);
    return bytes;
  },
  'another byte': (der, random) => {
    const bytes = Buffer.from(der);
    bytes[random(bytes.length)] = pick(random, [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xff, random(256)]);
    return bytes;
  },
  'cut short': (der, random) => der.subarray(0, random(der.length)),
  'bytes inserted': (der, random) => {
    const at = random(der.length);
    const more = Buffer.from(Array.from({ length: 1 + random(4) }, () => random(256)));
    return Buffer.concat([der.subarray(0, at), more, der.subarray(at)]);
  },
  'bytes removed': (der, random) => {
    const at = random(der.length);
    return Buffer.concat([der.subarray(0, at), der.subarray(at + 1 + random(4))]);
  },
  'another length': (der, random) => {
    const at = random(Math.min(der.length, 400));
    const length = pick(random, [
      '80',
      '8180',
      '820001',
      '83ffffff',
      '847fffffff',
      '88ffffffffffffffff',
    ]);
    return Buffer.concat([der.subarray(0, at), Buffer.from(length, 'hex'), der.subarray(at + 1)]);
  },
  'an element with another tag': changeNode((node, random) => {
    const tags = [
      1, 2, 3, 4, 5, 6, 9, 10, 12, 19, 20, 22, 23, 24, 28, 30, 0x30, 0x31, 0x80, 0xa0, 0xa3,
    ];
    node.tag = pick(random, tags);
  }),
  'an element with other contents': changeNode((node, random) => {
    if (node.children !== undefined || node.content.length === 0) return;
    const content = Buffer.from(node.content);
    content[random(content.length)] = random(256);
    node.content = content;
  }),
  'an element with a longer length form': changeNode((node, random) => {
    node.lengthForm = { extraBytes: 1 + random(3) };
  }),
  'an element of indefinite length': changeNode((node) => {
    node.lengthForm = 'indefinite';
  }),
  'an element in pieces': changeNode((node) => {
    if (node.children !== undefined) return;
    node.children = [simpleNode(node.tag, node.content)];
    node.tag |= 0x20;
  }),
  'an element removed': changeNode((node, random) => {
    if (node.children?.length) node.children.splice(random(node.children.length), 1);
  }),
  'an element twice': changeNode((node, random) => {
    if (node.children?.length) node.children.push(copyTree(pick(random, node.children)));
  }),
  'elements exchanged': changeNode((node) => void node.children?.reverse()),
  'an empty element': changeNode((node) => {
    node.content = Buffer.alloc(0);
    if (node.children !== undefined) node.children = [];
  }),
  'an element padded': changeNode((node, random) => {
    if (node.children === undefined)
      node.content = Buffer.concat([Buffer.of(pick(random, [0, 0x80, 0xff])), node.content]);
  }),
  'an element nested deeply': changeNode((_node, random) => ({
    raw: writeTree(deep(1 + random(60))),
  })),
} as const satisfies Record<string, (der: Buffer, random: Random) => Buffer>;

/** What becomes of a node: its new members, or nothing where it was changed in place. */
type Change = Partial<DerNode> | undefined;

function changeNode(change: (node: DerNode, random: Random) => Change) {
  return (der: Buffer, random: Random): Buffer => {
    const root = readTree(der);
    const node = pick(random, nodesOf(root));
    Object.assign(node, change(node, random));
    return writeTree(root);
  };
}

function changed(der: Buffer, change: (root: DerNode) => Change): Buffer {
  const root = readTree(der);
  return writeTree(Object.assign(root, change(root)));
}

/** Changes what is signed (0), the algorithm (1) or the signature (2, -1). */
function changedPart(der: Buffer, index: number, change: (part: DerNode) => Change): Buffer {
  const root = readTree(der);
  const part = root.children!.at(index)!;
  Object.assign(part, change(part));
  return writeTree(root);
}

/** Changes the first element with this tag in what is signed. */
function spoilFirst(der: Buffer, tag: number, change: (node: DerNode) => Change): Buffer {
  const root = readTree(der);
  const node = nodesOf(root.children![0]!).find((candidate) => candidate.tag === tag);
  if (node === undefined) throw new Error(`there is no element with the tag ${tag}`);
  Object.assign(node, change(node));
  return writeTree(root);
}

/** Gives the algorithm of the signature one more parameter. */
function addParameter(der: Buffer, parameter: DerNode): Buffer {
  return changed(der, (root) => void root.children![1]!.children!.push(parameter));
}

/** Changes the list of extensions: a SEQUENCE of SEQUENCEs of an identifier and octets. */
function spoilExtensions(der: Buffer, change: (list: DerNode[]) => void): Buffer {
  const root = readTree(der);
  const list = nodesOf(root.children![0]!).findLast(
    ({ tag, children }) =>
      tag === 0x30 &&
      children !== undefined &&
      children.length > 0 &&
      children.every((child) => child.children?.[0]?.tag === 6 && child.children.at(-1)?.tag === 4),
  );
  if (list === undefined) throw new Error('there is no list of extensions');
  change(list.children!);
  return writeTree(root);
}

function putOutOfOrder(set: DerNode): Change {
  const [first] = set.children!;
  const smaller = copyTree(first!);
  const value = smaller.children!.at(-1)!;
  value.content = Buffer.from(value.content.map((byte, index) => (index === 0 ? byte - 1 : byte)));
  return { children: [first!, smaller] };
}

function deep(levels: number): DerNode {
  const pieces: Buffer[] = [Buffer.from('0500', 'hex')];
  let length = 2;
  for (let level = 0; level < levels; level++) {
    const header = headerOf(0x30, length);
    pieces.push(header);
    length += header.length;
  }
  return { ...constructedNode(0x30, []), raw: Buffer.concat(pieces.reverse()) };
}
