import { isIPv4, isIPv6, SocketAddress } from 'node:net';

/** The bytes of an address: four or sixteen; undefined where the text is none. */
export function addressBytes(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const [head = '', tail] = text.split('::');
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const bytes = Buffer.alloc(16);
  bytes.set(front);
  bytes.set(back, 16 - back.length);
  return bytes;
}

/** An address of four or sixteen bytes as Node prints it; undefined for another length. */
export function addressText(bytes: Buffer): string | undefined {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  const groups = Array.from({ length: 8 }, (_, index) =>
    bytes.readUInt16BE(index * 2).toString(16),
  );
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}

/**
 * A network of a name constraint, `10.0.0.0/8`, as address and mask (RFC 5280, section 4.2.1.10);
 * an address alone is a network of one. Undefined where the text is none, or has bits behind the
 * prefix.
 */
export function networkBytes(text: string): Buffer | undefined {
  const [written = '', prefixText, ...more] = text.split('/');
  const address = addressBytes(written);
  if (address === undefined || more.length > 0) return undefined;
  const bits = address.length * 8;
  const prefix = prefixText === undefined ? bits : prefixOf(prefixText, bits);
  if (prefix === undefined) return undefined;
  const mask = maskOf(prefix, address.length);
  if (address.some((byte, index) => (byte & ~mask[index]! & 0xff) !== 0)) return undefined;
  return Buffer.concat([address, mask]);
}

/** The text of address and mask; undefined where the mask is no prefix or the length is wrong. */
export function networkText(bytes: Buffer): string | undefined {
  if (bytes.length !== 8 && bytes.length !== 32) return undefined;
  const half = bytes.length / 2;
  const mask = bytes.subarray(half);
  let prefix = 0;
  while (prefix < half * 8 && (mask[prefix >> 3]! & (0x80 >> (prefix & 7))) !== 0) prefix++;
  if (!maskOf(prefix, half).equals(mask)) return undefined;
  // Bits behind the prefix mean nothing; some CAs set them.
  const network = bytes.subarray(0, half).map((byte, index) => byte & mask[index]!);
  return `${addressText(Buffer.from(network))}/${prefix}`;
}

function prefixOf(text: string, bits: number): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(text)) return undefined;
  const prefix = Number(text);
  return prefix <= bits ? prefix : undefined;
}

function maskOf(prefix: number, bytes: number): Buffer {
  const mask = Buffer.alloc(bytes);
  for (let bit = 0; bit < prefix; bit++) mask[bit >> 3]! |= 0x80 >> (bit & 7);
  return mask;
}

// RFC 4291, section 2.2: groups of four digits; the last two may be written as an IPv4 address.
function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
