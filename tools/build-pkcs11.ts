// `npm run build:pkcs11`: builds the part that `pkcs11:` keystores need.
import { dirname } from 'node:path';
import { buildAddon } from './pkcs11/addon.ts';

const result = buildAddon(dirname(import.meta.dirname));
if (result.ok) {
  console.log(result.isNew ? 'built: pkcs11: keystores can be used' : 'it is built already');
} else {
  console.error(`error: ${result.reason}\nhint: ${result.hint}`);
  process.exitCode = 1;
}
