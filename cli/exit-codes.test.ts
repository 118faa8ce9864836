import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ErrorCode, errorCodes } from '../api/error-codes.ts';
import { type ExitName, exitCodeOf, exitCodes } from './exit-codes.ts';

test('every error code has an exit code other than 0', () => {
  for (const code of Object.keys(errorCodes) as ErrorCode[]) {
    const exit = exitCodeOf(code);
    assert.ok(exit >= 1 && exit <= exitCodes.pending, code);
  }
});

test('the exit codes are those that scripts rely on', () => {
  const expected: Partial<Record<ErrorCode, number>> = {
    'invalid-ciphertext': 1,
    internal: 1,
    'invalid-request': 2,
    'config-invalid': 2,
    unauthenticated: 3,
    forbidden: 3,
    'not-found': 4,
    'key-destroyed': 4,
    'already-exists': 5,
    'state-not-allowed': 5,
    'approval-mismatch': 5,
    'approval-pending': 8,
    unreachable: 6,
    'rate-limited': 6,
    'outcome-unknown': 6,
    'tls-untrusted': 7,
    'record-corrupt': 7,
  };
  for (const [code, exit] of Object.entries(expected)) {
    assert.equal(exitCodeOf(code as ErrorCode), exit, code);
  }
});

test('the page on the command line lists them all', () => {
  const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'cli.md'), 'utf8');
  for (const name of Object.keys(exitCodes) as ExitName[]) {
    assert.match(page, new RegExp(`^\\| ${exitCodes[name]} \\|`, 'm'), name);
  }
});
