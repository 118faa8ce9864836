import { dirname } from 'node:path';
import type { TestContext } from 'node:test';
import { buildAddon } from '../tools/pkcs11/addon.ts';
import { skip } from './tools.ts';

/** Whether PKCS #11 modules can be loaded; builds what is needed, or skips the test by name. */
export function requirePkcs11Addon(t: TestContext): boolean {
  const result = buildAddon(dirname(import.meta.dirname));
  if (result.ok) return true;
  skip(t, `the PKCS #11 addon cannot be built: ${result.reason}`);
  return false;
}
