import pino from 'pino';
import { systemClock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { KeyIdentity } from '../keystore.ts';
import { createPkcs11Keystore, type Pkcs11Keystore, type Pkcs11KeystoreOptions } from './pkcs11.ts';

const opened: Pkcs11Keystore[] = [];

/** A keystore of the tests; all of them are stopped by `stopKeystores`. */
export function openKeystore(
  uri: string,
  options: Partial<Pkcs11KeystoreOptions> = {},
): Pkcs11Keystore {
  const log = pino({ level: 'silent' });
  const keystore = createPkcs11Keystore({ name: 'hsm', uri, log, clock: systemClock, ...options });
  opened.push(keystore);
  return keystore;
}

export async function stopKeystores(): Promise<void> {
  await Promise.all(opened.splice(0).map((keystore) => keystore.stop()));
}

export function freshIdentity(name: string): KeyIdentity {
  return { keyId: newId('key'), version: 1, name };
}
