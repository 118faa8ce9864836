import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { SchemeName } from '../../api/algorithms.ts';
import { requireKey, requireScheme } from './key-kind.ts';

/** HMAC (FIPS 198-1) of the data, untruncated. Errors: `unknown-scheme`, `scheme-not-allowed`. */
export function mac(scheme: SchemeName, key: KeyObject, data: Uint8Array): Buffer {
  const row = requireScheme(scheme, 'mac');
  requireKey(scheme, key, 'secret');
  return createHmac(row.hash, key).update(data).digest();
}

/** Whether the value is the whole MAC of these data; compared in constant time. */
export function verifyMac(
  scheme: SchemeName,
  key: KeyObject,
  data: Uint8Array,
  value: Uint8Array,
): boolean {
  const expected = mac(scheme, key, data);
  return value.length === expected.length && timingSafeEqual(expected, value);
}
