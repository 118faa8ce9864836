import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  formatLoginCode,
  loginCodeSecretBytes,
  loginCodeTtlSeconds,
} from '../../api/login-code.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { exists, flushFolder, readPrivateFile, writeFileDurably } from '../base/files.ts';
import { newId } from '../base/ids.ts';

export interface LoginCodeOptions {
  /** `login-code.json` in the data folder. */
  readonly file: string;
  /** SHA-256 of the SPKI of the CA `system/tls`, hexadecimal. */
  readonly caFingerprint: string;
  readonly clock: Clock;
}

/** What lies in the file: a hash, so that reading it lets nobody in. */
export interface PendingLoginCode {
  readonly id: string;
  readonly hash: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const fileSizeMaxBytes = 4096;

/**
 * Makes a login code for the administrator and puts its hash into the data folder, in place of an
 * earlier one. Needs no running server: whoever may write there may log in. Returns the code, which
 * is kept nowhere; it works once, for `loginCodeTtlSeconds`.
 */
export function createLoginCode(options: LoginCodeOptions): string {
  const secret = randomBytes(loginCodeSecretBytes);
  const pending: PendingLoginCode = {
    id: newId('int'),
    hash: loginCodeHash(secret).toString('hex'),
    expiresAt: options.clock.now() + loginCodeTtlSeconds * 1000,
  };
  const code = formatLoginCode(secret, options.caFingerprint);
  secret.fill(0);
  writeFileDurably(options.file, `${JSON.stringify(pending)}\n`);
  return code;
}

/** What is kept of a code: 128 random bits need no slow hash. */
export function loginCodeHash(secret: Uint8Array): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** The code that waits, or undefined. Errors: `lax-mode`, `integrity-failed`. */
export function readPendingLoginCode(file: string): PendingLoginCode | undefined {
  if (!exists(file)) return undefined;
  const bytes = readPrivateFile(file);
  try {
    if (bytes.length > fileSizeMaxBytes) throw new Error('too long');
    const value = JSON.parse(bytes.toString('utf8')) as Partial<PendingLoginCode>;
    if (typeof value.id !== 'string' || !/^[0-9a-f]{64}$/.test(value.hash ?? '')) {
      throw new Error('a member is missing');
    }
    if (!Number.isSafeInteger(value.expiresAt)) throw new Error('the end is missing');
    return value as PendingLoginCode;
  } catch (error) {
    throw new KeyreeveError('integrity-failed', 'The file of the login code is damaged.', {
      hint: 'Make a new code on the host with: keyreeve login-code',
      cause: error,
    });
  }
}

/** Whether this is the code that waits; takes the same time wherever they differ. */
export function isPending(pending: PendingLoginCode, hash: Uint8Array): boolean {
  return timingSafeEqual(Buffer.from(pending.hash, 'hex'), hash);
}

/** Removes a used code. It cannot work again even where this fails. */
export function removePendingLoginCode(file: string): void {
  rmSync(file, { force: true });
  flushFolder(dirname(file));
}
