import { randomNonce } from '../../crypto/crypto.ts';

/** Four bytes in front, then 16 more: the 20 octets of RFC 5280, section 4.1.2.2. */
export const serialLengthBytes = 20;

const frontValues = 2 ** 30;

/**
 * A fresh serial number: 128 random bits behind four bytes of which the first is from 0x40 to 0x7f.
 * So it is positive, begins with no zero (neither byte nor hexadecimal digit, which tools drop), is
 * always of one length, and loses none of its randomness to that. The CA/Browser Forum's Baseline
 * Requirements, section 7.1, ask for 64 bits.
 *
 * With the time (milliseconds), the front counts it, for twelve days round and round: numbers of one
 * moment are neighbours in the database. All over its index each would cost a page of its own, which
 * was a fifth of what storing a certificate costs. The front is random otherwise.
 */
export function newSerial(now?: number): Buffer {
  const serial = randomNonce(serialLengthBytes);
  const front = now === undefined ? serial.readUInt32BE() % frontValues : now % frontValues;
  serial.writeUInt32BE(frontValues + front);
  return serial;
}
