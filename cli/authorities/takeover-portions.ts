/** What a CA issued, in portions of a size that one request carries, and counted on the way. */
import { X509Certificate } from 'node:crypto';
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { KeyreeveError } from '../../server/base/errors.ts';

/** Far below what a request may carry: JSON makes it longer, and the service stores it in one go. */
export const portionBytesMax = 300_000;
/** Their serial numbers are held in memory. */
export const certificatesMax = 5_000_000;
const lineBytesMax = 16_384;
const certificateBytesMax = 100_000;
const certificateFile = /\.(pem|crt|cer)$/i;
const begin = '-----BEGIN CERTIFICATE-----';
const end = '-----END CERTIFICATE-----';

/** What was seen: the counts that the take-over has to come to. */
export class TakeoverCounts {
  readonly #serials = new Set<string>();
  readonly #revoked = new Set<string>();
  /** Certificates of other issuers, which are left out. */
  foreign = 0;

  get issued(): number {
    return this.#serials.size;
  }

  get revoked(): number {
    return this.#revoked.size;
  }

  /** Takes note of a serial number in hexadecimal. Throws `too-large`. */
  add(serial: string, isRevoked: boolean): void {
    const normal = serial.toLowerCase().replace(/^0+/, '');
    this.#serials.add(normal);
    if (isRevoked) this.#revoked.add(normal);
    if (this.#serials.size <= certificatesMax) return;
    throw new KeyreeveError('too-large', `there are more than ${certificatesMax} certificates`, {
      hint: 'Leave out those that expired long ago.',
    });
  }
}

export interface Portion {
  readonly text: string;
  /** Where it came from, for people: the service counts from one in each. */
  readonly from: string;
  /** Bytes of the files that were read for it. */
  readonly bytesRead: number;
}

/**
 * The lines of an `index.txt` (status, expiry, revocation, serial number, file, subject, between
 * tabs) in portions. Throws `invalid-request` with the number of a line that is none.
 */
export async function* indexPortions(
  path: string,
  counts: TakeoverCounts,
): AsyncGenerator<Portion> {
  let number = 0;
  const place = () => `${path}, line ${number}`;
  yield* portions(linesOf(path), place, (line) => {
    number += 1;
    // A line all the same, so that the service counts as the file does.
    if (line.trim() === '' || line.startsWith('#')) return '\n';
    const [status = '', , , serial = '', ...rest] = line.split('\t');
    if (!/^[VRE]$/.test(status) || !/^[0-9A-Fa-f]{1,80}$/.test(serial) || rest.length !== 2) {
      throw new KeyreeveError(
        'invalid-request',
        `${path}, line ${number}, is no line of an index of openssl`,
        { hint: 'A line is: V, R or E, expiry, revocation, serial number, file, subject.' },
      );
    }
    counts.add(serial, status === 'R');
    return `${line}\n`;
  });
}

/** Certificates of files, and of the files of folders, that the CA issued, in portions of PEM. */
export async function* certificatePortions(
  files: readonly string[],
  issuer: X509Certificate,
  counts: TakeoverCounts,
): AsyncGenerator<Portion> {
  let file = '';
  yield* portions(
    blocksOf(files),
    () => file,
    (pem) => {
      file = pem.path;
      const certificate = read(pem.text, pem.path);
      if (!isIssuedBy(certificate, issuer)) {
        counts.foreign += 1;
        return '';
      }
      counts.add(certificate.serialNumber, false);
      return `${pem.text}\n`;
    },
  );
}

/** The files that the paths name, those in folders in order of their names, and their size. */
export function certificateFiles(paths: readonly string[]): { files: string[]; bytes: number } {
  const files = paths.flatMap((path) =>
    statSync(path).isDirectory()
      ? readdirSync(path)
          .filter((name) => certificateFile.test(name))
          .sort()
          .map((name) => join(path, name))
      : [path],
  );
  return { files, bytes: files.reduce((sum, path) => sum + statSync(path).size, 0) };
}

interface Piece<Item> {
  readonly item: Item;
  readonly bytesRead: number;
}

/** Joins what `take` makes of the pieces; `place` says where the last of them was. */
async function* portions<Item>(
  source: AsyncIterable<Piece<Item>>,
  place: () => string,
  take: (item: Item) => string,
): AsyncGenerator<Portion> {
  const empty = { text: '', from: '', bytes: 0, bytesRead: 0 };
  let portion = { ...empty };
  for await (const piece of source) {
    const taken = take(piece.item);
    const length = Buffer.byteLength(taken);
    if (portion.bytes > 0 && portion.bytes + length > portionBytesMax) {
      if (portion.text.trim() !== '') yield portion;
      portion = { ...empty };
    }
    if (portion.bytes === 0) portion.from = place();
    portion.text += taken;
    portion.bytes += length;
    portion.bytesRead += piece.bytesRead;
  }
  if (portion.text.trim() !== '') yield portion;
}

/** Lines without their ends. No line is held that is longer than one may be. */
async function* linesOf(path: string): AsyncGenerator<Piece<string>> {
  let rest = '';
  for await (const piece of createReadStream(path, { encoding: 'utf8' })) {
    const lines = (rest + piece).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      refuseLong(path, 'a line', line.length, lineBytesMax);
      yield { item: line.replace(/\r$/, ''), bytesRead: Buffer.byteLength(line) + 1 };
    }
    refuseLong(path, 'a line', rest.length, lineBytesMax);
  }
  if (rest !== '') yield { item: rest.replace(/\r$/, ''), bytesRead: Buffer.byteLength(rest) };
}

interface Block {
  readonly path: string;
  readonly text: string;
}

/** The certificates in PEM files; what stands between them, such as openssl's text, is left out. */
async function* blocksOf(files: readonly string[]): AsyncGenerator<Piece<Block>> {
  for (const path of files) {
    let block: string[] | undefined;
    let length = 0;
    let bytesRead = 0;
    for await (const { item, bytesRead: bytes } of linesOf(path)) {
      const line = item.trimEnd();
      bytesRead += bytes;
      if (line === begin) {
        block = [];
        length = 0;
      }
      if (block === undefined) continue;
      block.push(line);
      length += line.length + 1;
      refuseLong(path, 'a certificate', length, certificateBytesMax);
      if (line !== end) continue;
      yield { item: { path, text: block.join('\n') }, bytesRead };
      block = undefined;
      bytesRead = 0;
    }
    if (block !== undefined) throw malformed(path, 'it ends within a certificate');
  }
}

/** By name and signature: certificates of openssl's small CA need not carry a key identifier. */
function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.issuer === issuer.subject && certificate.verify(issuer.publicKey);
}

function read(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw malformed(path, 'it cannot be read', error);
  }
}

function malformed(path: string, why: string, cause?: unknown): KeyreeveError {
  return new KeyreeveError('certificate-malformed', `${path}: ${why}`, {
    hint: 'Mend or remove it, and run the command again: it goes on where it was.',
    cause,
  });
}

function refuseLong(path: string, what: string, length: number, lengthMax: number): void {
  if (length <= lengthMax) return;
  throw new KeyreeveError('too-large', `${path}: ${what} is longer than ${lengthMax} bytes`, {
    hint: 'Is it the right file?',
  });
}
