import { KeyreeveError } from '../../server/base/errors.ts';

/** A serial number as people paste it: hexadecimal, with `0x`, colons, or openssl's `serial=`. */
export function serialOf(text: string): string {
  const digits = text.replace(/^serial=/i, '').replace(/^0x/i, '');
  if (/^[0-9A-Fa-f:]{1,80}$/.test(digits)) return digits;
  throw new KeyreeveError('invalid-request', `"${text}" is no serial number`, {
    hint: 'Give it in hexadecimal, as "keyreeve cert list" and "openssl x509 -serial" print it.',
  });
}
