/** Making a login code where the service runs: whoever may write its data folder may log in. */
import { createHash, X509Certificate } from 'node:crypto';
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loginCodeTtlSeconds } from '../api/login-code.ts';
import { type Clock, formatTime } from '../server/base/clock.ts';
import { KeyreeveError } from '../server/base/errors.ts';
import { requirePrivate } from '../server/base/files.ts';

export interface LoginCodeOnHost {
  readonly code: string;
  readonly expiresAt: string;
}

/**
 * Makes a code for the service whose configuration the environment names. Throws `not-found`
 * where it never ran, `lax-mode` where its data belongs to another user.
 */
export async function createLoginCodeOnHost(
  environment: Readonly<Record<string, string | undefined>>,
  clock: Clock,
): Promise<LoginCodeOnHost> {
  const { loadConfig } = await import('../server/config/config.ts');
  const { createLoginCode } = await import('../server/access/access.ts');
  const { data } = loadConfig(environment);
  const caFingerprint = readCaFingerprint(data);
  const now = clock.now();
  const code = createLoginCode({ file: join(data, 'login-code.json'), caFingerprint, clock });
  return { code, expiresAt: formatTime(now + loginCodeTtlSeconds * 1000) };
}

/** SHA-256 of the public key of the CA under which the service shows itself, hexadecimal. */
export function readCaFingerprint(dataFolder: string): string {
  if (lstatSync(dataFolder, { throwIfNoEntry: false }) === undefined) throw neverRan(dataFolder);
  requirePrivate(dataFolder, 'folder');
  const path = join(dataFolder, 'tls', 'ca.pem');
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) throw neverRan(dataFolder);
  const { publicKey } = new X509Certificate(readFileSync(path));
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  return createHash('sha256').update(spki).digest('hex');
}

function neverRan(dataFolder: string): KeyreeveError {
  return new KeyreeveError('not-found', `no service has run with the data folder ${dataFolder}`, {
    hint: 'Run this on the host of the service, as its user, with its KEYREEVE_DATA; the first start makes a code by itself.',
  });
}
