import { setImmediate } from 'node:timers/promises';
import type { PartialConfig } from 'openpgp';
import { KeyreeveError } from '../base/errors.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';
import { invalidBackup } from './backup-format.ts';

/** How a backup is encrypted: to age recipients, or to a passphrase as OpenPGP. */
export type Protection =
  | { readonly kind: 'age'; readonly recipients: readonly string[] }
  | { readonly kind: 'openpgp'; readonly passphrase: SecretBytes };

/** What opens a backup: one of them is enough. */
export interface Unlock {
  readonly passphrase?: SecretBytes | undefined;
  /** The text of an age identity file: `AGE-SECRET-KEY-1...`, comments and several keys allowed. */
  readonly identity?: string | undefined;
}

export const fileExtensions = { age: 'age', openpgp: 'gpg' } as const;
export const passphraseLengthMin = 12;

const ageMagic = 'age-encryption.org/v1\n';
/** Pieces handed to the cipher at once: a piece keeps the event loop busy for about a millisecond. */
const pieceBytes = 64 * 1024;
/** Decrypting what is left once everything was read takes a moment; more than this is no work. */
const stallMilliseconds = 5000;
/** RFC 9580 section 3.7.1.3: 65,011,712 bytes are hashed for each guess, the most there is. */
const s2kCountByte = 255;

/** Refuses recipients that are none before any work is done. Throws `invalid-request`. */
export async function requireProtection(protection: Protection): Promise<void> {
  if (protection.kind === 'age') {
    await ageEncrypter(protection.recipients);
    return;
  }
  // A string length would count letters; what is guessed are bytes. Both are at least this.
  if (protection.passphrase.length >= passphraseLengthMin) return;
  throw new KeyreeveError('invalid-request', 'The passphrase is too short.', {
    hint: `Take ${passphraseLengthMin} characters or more: it is all that protects the file.`,
  });
}

/** Encrypts a stream. What opens it: `age -d -i IDENTITY`, or `gpg --decrypt`. */
export async function protect(
  chunks: AsyncIterable<Uint8Array>,
  protection: Protection,
): Promise<AsyncIterable<Uint8Array>> {
  const stream = ReadableStream.from(pieces(chunks)) as ReadableStream<Uint8Array>;
  if (protection.kind === 'age') {
    return (await ageEncrypter(protection.recipients)).encrypt(stream);
  }
  const openpgp = await import('openpgp');
  const encrypted = await openpgp.encrypt({
    message: await openpgp.createMessage({ binary: stream }),
    passwords: protection.passphrase.reveal().toString('utf8'),
    format: 'binary',
    config: await openPgpConfig(),
  });
  return encrypted as unknown as AsyncIterable<Uint8Array>;
}

/**
 * Opens a stream that `protect` made; which kind it is shows in its first bytes. Nothing of it may
 * be believed before its end was reached without an error. Errors: `wrong-passphrase` where the
 * secret does not fit, `backup-invalid` for everything else.
 */
export async function unprotect(
  source: AsyncIterable<Uint8Array>,
  unlock: Unlock,
): Promise<AsyncIterable<Uint8Array>> {
  const { head, all } = await peek(source, ageMagic.length);
  if (head.toString('latin1') === ageMagic) return openAge(all, unlock.identity);
  // RFC 9580 sections 4.2 and 5.3: a symmetric-key encrypted session key packet, either header.
  if (head[0] === 0xc3 || (head[0]! & 0xfc) === 0x8c) return openOpenPgp(all, unlock.passphrase);
  throw invalidBackup('it is neither an age file nor an OpenPGP message');
}

async function ageEncrypter(recipients: readonly string[]) {
  const { Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      throw new KeyreeveError('invalid-request', `"${recipient}" is not an age recipient.`, {
        hint: 'Recipients begin with age1; `age-keygen -y` prints that of an identity.',
        cause,
      });
    }
  }
  if (recipients.length > 0) return encrypter;
  throw new KeyreeveError('invalid-request', 'A backup needs a recipient or a passphrase.');
}

/**
 * What gpg 2.2 and later open alone: AES-256 with the integrity packet of RFC 9580 section 5.13.1,
 * the passphrase hashed as section 3.7.1.3 says. The AEAD and Argon2 of RFC 9580 they do not know.
 */
async function openPgpConfig(): Promise<PartialConfig> {
  const { enums } = await import('openpgp');
  return {
    s2kType: enums.s2k.iterated,
    s2kIterationCountByte: s2kCountByte,
    aeadProtect: false,
    preferredSymmetricAlgorithm: enums.symmetric.aes256,
    preferredCompressionAlgorithm: enums.compression.uncompressed,
    // Streams are handed on before their end is checked; no caller believes them before.
    allowUnauthenticatedStream: true,
    showVersion: false,
    showComment: false,
  };
}

async function openAge(
  source: AsyncIterable<Uint8Array>,
  identity: string | undefined,
): Promise<AsyncIterable<Uint8Array>> {
  if (identity === undefined) throw needs('an age identity', '--identity FILE');
  const { Decrypter } = await import('age-encryption');
  const decrypter = new Decrypter();
  const lines = identity.split('\n').map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  try {
    if (keys.length === 0) throw new TypeError('no identity');
    for (const key of keys) decrypter.addIdentity(key);
  } catch {
    // Without its cause: that may quote the secret.
    throw new KeyreeveError('invalid-request', 'The identity file holds no age identity.', {
      hint: 'An age identity is a line that begins with AGE-SECRET-KEY-1.',
    });
  }
  try {
    const stream = ReadableStream.from(source) as ReadableStream<Uint8Array>;
    return checked(await decrypter.decrypt(stream));
  } catch (cause) {
    if (!/no identity matched/.test(String(cause))) {
      throw invalidBackup('its age header is damaged', cause);
    }
    throw new KeyreeveError('wrong-passphrase', 'The backup is not for this age identity.', {
      hint: 'Give the identity of a recipient that the backup was made for.',
      cause,
    });
  }
}

async function openOpenPgp(
  source: AsyncIterable<Uint8Array>,
  passphrase: SecretBytes | undefined,
): Promise<AsyncIterable<Uint8Array>> {
  if (passphrase === undefined) throw needs('a passphrase', '--passphrase-file FILE');
  const openpgp = await import('openpgp');
  const config = await openPgpConfig();
  const input = new WatchedInput(source);
  const binaryMessage = ReadableStream.from(input.chunks()) as ReadableStream<Uint8Array>;
  let message: Awaited<ReturnType<typeof openpgp.readMessage>>;
  try {
    message = await openpgp.readMessage({ binaryMessage, config } as never);
  } catch (cause) {
    throw invalidBackup('it is not a whole OpenPGP message', cause);
  }
  try {
    const { data } = await openpgp.decrypt({
      message,
      passwords: passphrase.reveal().toString('utf8'),
      format: 'binary',
      config,
    });
    const { head, all } = await peek(input.unstalled(data as unknown as Decrypted), 1);
    if (head.length === 0) throw new TypeError('nothing inside');
    return checked(all);
  } catch (cause) {
    // The format cannot tell the two apart: a wrong key gives other bytes, as damage does.
    throw new KeyreeveError(
      'wrong-passphrase',
      'The passphrase does not open this backup, or the beginning of the file is damaged.',
      { hint: 'Check the passphrase, then fetch the file again.', cause },
    );
  }
}

type Decrypted = AsyncIterable<Uint8Array>;

/**
 * Knows when all of the input was read. A message whose inner lengths are damaged lets openpgp wait
 * for more of it for ever: no error comes, and no end.
 */
class WatchedInput {
  readonly #source: AsyncIterable<Uint8Array>;
  #isEnded = false;
  #onEnd: (() => void) | undefined;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source;
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#source;
    } finally {
      this.#isEnded = true;
      this.#onEnd?.();
    }
  }

  /** What comes out, or an error where nothing comes though everything went in. */
  async *unstalled(stream: Decrypted): AsyncGenerator<Uint8Array> {
    const iterator = stream[Symbol.asyncIterator]();
    try {
      for (;;) {
        const result = await this.#unlessStalled(iterator.next());
        if (result.done === true) return;
        yield result.value;
      }
    } finally {
      // Not waited for: where it stalls, it would not answer this either.
      iterator.return?.().catch(() => undefined);
    }
  }

  #unlessStalled<Result>(next: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const watch = () => {
        const error = new TypeError('it ends before its inner lengths say');
        timer = setTimeout(() => reject(error), stallMilliseconds);
      };
      this.#onEnd = watch;
      if (this.#isEnded) watch();
      next.then(resolve, reject).finally(() => {
        clearTimeout(timer);
        this.#onEnd = undefined;
      });
    });
  }
}

/** The stream, its errors as `backup-invalid`. */
async function* checked(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (cause) {
    throw invalidBackup('it was cut or altered', cause);
  }
}

async function* pieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      // Copies: the ciphers may keep or hand on the buffer behind a view.
      yield new Uint8Array(chunk.subarray(start, start + pieceBytes));
      // Streams that have all they need go on without end: others are let in between.
      await setImmediate();
    }
  }
}

/** The first bytes of a stream, fewer where it is shorter, and the whole stream again. */
async function peek(source: AsyncIterable<Uint8Array>, count: number) {
  const iterator = source[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let length = 0;
  while (length < count) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    length += next.value.length;
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    try {
      yield* first;
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { head: Buffer.concat(first).subarray(0, count), all: whole() };
}

function needs(what: string, option: string): KeyreeveError {
  return new KeyreeveError('wrong-passphrase', `This backup is opened by ${what}.`, {
    hint: `Give it with ${option}.`,
  });
}
