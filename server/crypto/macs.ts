import { createHmac, timingSafeEqual } from 'node:crypto';
import type { SchemeName } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { requireKey, requireScheme } from './key-kind.ts';
import { type PrivateKey, requireUse } from './private-key.ts';
import { isRemoteKey } from './remote-key.ts';

/**
 * HMAC (FIPS 198-1) of the data, untruncated. Errors: `unknown-scheme`, `scheme-not-allowed`, and of
 * remote keys `keystore-unavailable`, `capability-missing`, `integrity-failed`.
 */
export async function mac(scheme: SchemeName, key: PrivateKey, data: Uint8Array): Promise<Buffer> {
  const row = requireScheme(scheme, 'mac');
  requireKey(scheme, key, 'secret');
  if (!isRemoteKey(key)) return createHmac(row.hash, key).update(data).digest();
  const value = await requireUse(key, 'mac')(scheme, data);
  if (value.length === row.hashBytes) return value;
  throw new KeyreeveError(
    'integrity-failed',
    `The keystore "${key.keystore}" gave a MAC of a wrong length.`,
  );
}

/** Whether the value is the whole MAC of these data; compared in constant time. */
export async function verifyMac(
  scheme: SchemeName,
  key: PrivateKey,
  data: Uint8Array,
  value: Uint8Array,
): Promise<boolean> {
  const expected = await mac(scheme, key, data);
  return value.length === expected.length && timingSafeEqual(expected, value);
}
