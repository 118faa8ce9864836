import { lstat } from 'node:fs/promises';
import { readPrivateFile } from '../../base/async-files.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { SecretBytes } from '../../base/secret-bytes.ts';

/** A PIN, and what tells whether its file is still the one that it came from. */
export interface ReadPin {
  readonly pin: SecretBytes;
  readonly version: string;
}

/**
 * The PIN in the first line of a private file. Errors: `lax-mode`, `config-invalid` where it is not
 * there or empty.
 */
export async function readPin(path: string): Promise<ReadPin> {
  const version = await pinFileVersion(path);
  if (version === undefined) {
    throw new KeyreeveError('config-invalid', `The PIN file ${path} is not there.`, {
      hint: 'Write the PIN of the token to it, with mode 0600, or correct pin-source.',
    });
  }
  using content = new SecretBytes(await readPrivateFile(path));
  const bytes = content.reveal();
  const end = bytes.findIndex((byte) => byte === 0x0a || byte === 0x0d);
  const line = end === -1 ? bytes : bytes.subarray(0, end);
  if (line.length > 0) return { pin: new SecretBytes(Buffer.from(line)), version };
  throw new KeyreeveError('config-invalid', `The first line of the PIN file ${path} is empty.`, {
    hint: 'Write the PIN of the token there.',
  });
}

/** Changes whenever the file is written; undefined where there is none. */
export async function pinFileVersion(path: string): Promise<string | undefined> {
  try {
    const facts = await lstat(path, { bigint: true });
    return `${facts.dev}:${facts.ino}:${facts.size}:${facts.mtimeNs}:${facts.ctimeNs}`;
  } catch {
    return undefined;
  }
}
