/**
 * DER as a tree that can be changed and written again, also in forms that DER forbids. It shares
 * nothing with the product's codec, which it is made to test.
 */
export interface DerNode {
  tag: number;
  /** Of a constructed node; a simple one has `content`. */
  children: DerNode[] | undefined;
  content: Buffer;
  /** How the length is written: so many bytes more than needed, or the indefinite form of BER. */
  lengthForm: { readonly extraBytes: number } | 'indefinite';
  /** Written instead of everything above. */
  raw?: Buffer;
}

export function readTree(bytes: Buffer): DerNode {
  const [node] = readAll(bytes);
  if (node === undefined) throw new Error('no DER');
  return node;
}

export function writeTree(node: DerNode): Buffer {
  if (node.raw !== undefined) return node.raw;
  const content = Buffer.concat(node.children?.map(writeTree) ?? [node.content]);
  if (node.lengthForm === 'indefinite') {
    return Buffer.concat([Buffer.of(node.tag, 0x80), content, Buffer.alloc(2)]);
  }
  return Buffer.concat([headerOf(node.tag, content.length, node.lengthForm.extraBytes), content]);
}

/** Tag and length of an element, the length with so many bytes more than it needs. */
export function headerOf(tag: number, length: number, extraBytes = 0): Buffer {
  return Buffer.concat([Buffer.of(tag), lengthBytes(length, extraBytes)]);
}

/** Every node, the outermost first. */
export function nodesOf(node: DerNode): DerNode[] {
  return [node, ...(node.children ?? []).flatMap(nodesOf)];
}

export function simpleNode(tag: number, content: Buffer): DerNode {
  return { tag, children: undefined, content, lengthForm: { extraBytes: 0 } };
}

export function constructedNode(tag: number, children: DerNode[]): DerNode {
  return { tag, children, content: Buffer.alloc(0), lengthForm: { extraBytes: 0 } };
}

export function copyTree(node: DerNode): DerNode {
  return { ...node, children: node.children?.map(copyTree) };
}

function readAll(bytes: Buffer): DerNode[] {
  const nodes: DerNode[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const tag = bytes[offset]!;
    const first = bytes[offset + 1]!;
    const count = first < 0x80 ? 0 : first & 0x7f;
    const start = offset + 2 + count;
    const length = count === 0 ? first : bytes.readUIntBE(offset + 2, count);
    const content = bytes.subarray(start, start + length);
    nodes.push(
      (tag & 0x20) === 0 ? simpleNode(tag, content) : constructedNode(tag, readAll(content)),
    );
    offset = start + length;
  }
  return nodes;
}

function lengthBytes(length: number, extraBytes: number): Buffer {
  if (length < 0x80 && extraBytes === 0) return Buffer.of(length);
  const digits: number[] = [];
  for (let rest = length; rest > 0 || digits.length === 0; rest = Math.floor(rest / 256)) {
    digits.unshift(rest % 256);
  }
  const shown = length < 0x80 ? extraBytes - 1 : extraBytes;
  const zeros = Array.from({ length: shown }, () => 0);
  return Buffer.of(0x80 | (digits.length + shown), ...zeros, ...digits);
}
