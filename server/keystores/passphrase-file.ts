import { KeyreeveError } from '../base/errors.ts';
import { readPrivateFile } from '../base/files.ts';
import { SecretBytes } from '../base/secret-bytes.ts';

/**
 * The passphrase in the first line of a file, whichever way the line ends; undefined without a
 * file. Errors: `lax-mode` where others may read it, `config-invalid` where the line is empty.
 */
export function readPassphraseFile(path: string | undefined): SecretBytes | undefined {
  if (path === undefined) return undefined;
  const bytes = readPrivateFile(path);
  const end = bytes.findIndex((byte) => byte === 0x0a || byte === 0x0d);
  const line = end === -1 ? bytes : bytes.subarray(0, end);
  if (line.length > 0) return new SecretBytes(line);
  throw new KeyreeveError('config-invalid', `The first line of ${path} is empty.`, {
    hint: 'Write the passphrase there, or unset CRYPTO_KEY_PASSPHRASE_FILE.',
  });
}
