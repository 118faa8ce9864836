import { type Cipheriv, createCipheriv, type KeyObject } from 'node:crypto';

/** What one AES-256 key needs for each message: the cipher and the CMAC subkey K1. */
interface XaesState {
  /** AES-256-ECB without padding: holds no state between blocks, so one serves all messages. */
  readonly block: Cipheriv;
  readonly k1: Buffer;
}

// K1 depends on the key alone (C2SP XAES-256-GCM: steps 1 and 2 can be reused). The entries live as
// long as the key objects do.
const states = new WeakMap<KeyObject, XaesState>();

const blockBytes = 16;
const nonceBytes = 24;
const nonceHalfBytes = 12;

/**
 * Derives the AES-256-GCM key and nonce of one message from the key and its 24-byte nonce, after
 * C2SP XAES-256-GCM ("Detailed key derivation algorithm"): NIST SP 800-108r1 in counter mode with
 * AES-CMAC, each PRF input a single block.
 */
export function deriveXaes(key: KeyObject, nonce: Uint8Array): { key: Buffer; nonce: Uint8Array } {
  if (nonce.length !== nonceBytes) throw new RangeError('the nonce has 24 bytes');
  const { block, k1 } = stateOf(key);
  // M1 and M2: counter 1 and 2 in 16 bits, the label 'X', a zero byte, the first half of the nonce.
  const messages = Buffer.alloc(2 * blockBytes);
  for (let counter = 1; counter <= 2; counter++) {
    const start = (counter - 1) * blockBytes;
    messages[start + 1] = counter;
    messages[start + 2] = 0x58;
    messages.set(nonce.subarray(0, nonceHalfBytes), start + 4);
    for (let index = 0; index < blockBytes; index++) messages[start + index]! ^= k1[index]!;
  }
  return { key: block.update(messages), nonce: nonce.subarray(nonceHalfBytes) };
}

function stateOf(key: KeyObject): XaesState {
  let state = states.get(key);
  if (state === undefined) {
    const block = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
    state = { block, k1: doubleBlock(block.update(Buffer.alloc(blockBytes))) };
    states.set(key, state);
  }
  return state;
}

// Doubling in GF(2^128) without a branch on the secret top bit (NIST SP 800-38B, 6.1).
function doubleBlock(block: Buffer): Buffer {
  const doubled = Buffer.alloc(blockBytes);
  for (let index = 0; index < blockBytes; index++) {
    const carry = index + 1 < blockBytes ? block[index + 1]! >> 7 : 0;
    doubled[index] = ((block[index]! << 1) | carry) & 0xff;
  }
  doubled[blockBytes - 1]! ^= 0x87 & -(block[0]! >> 7);
  return doubled;
}
