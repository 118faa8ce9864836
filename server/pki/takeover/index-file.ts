import { type RevocationReason, revocationReasonNames } from '../../../api/revocation-reasons.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { timeRange } from '../../der/der.ts';
import { normalSerial } from '../certificate-record.ts';
import { onelineBytes } from './oneline.ts';

/** One line of the `index.txt` that `openssl ca` keeps. */
export interface IndexLine {
  /** Counted from one, in the text that was given. */
  readonly line: number;
  readonly serial: string;
  readonly notAfter: number;
  readonly revocation: IndexRevocation | undefined;
  /** The subject in openssl's one-line form, its escapes undone. */
  readonly subject: Buffer;
}

export interface IndexRevocation {
  readonly revokedAt: number;
  readonly reason: RevocationReason;
  readonly invalidFrom: number | null;
}

export const indexLinesMax = 50_000;
/** A subject of a thousand characters, each written as `\xHH` for two bytes, and the rest. */
export const indexLineLengthMax = 10_000;
const fieldCount = 6;
/** RFC 5280, section 4.1.2.2. */
const serialBytesMax = 20;

/**
 * Reads lines of an `index.txt`: flag, end, revocation, serial, file name and subject, between
 * tabs (openssl's apps/ca.c and its text database). Strict: a line that is not understood wholly is
 * refused with its number, and so are two lines of one serial number. Error: `invalid-request`.
 */
export function parseIndex(text: string): IndexLine[] {
  const lines: IndexLine[] = [];
  const seen = new Map<string, number>();
  let number = 0;
  for (const raw of text.split('\n')) {
    number += 1;
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    // As openssl reads it: a line of `#` is a comment.
    if (line === '' || line.startsWith('#')) continue;
    if (lines.length === indexLinesMax) {
      throw new KeyreeveError('too-large', `The index has more than ${indexLinesMax} lines.`, {
        hint: 'Send it in portions.',
      });
    }
    const parsed = parseLine(line, number);
    const before = seen.get(parsed.serial);
    if (before !== undefined) {
      throw wrong(number, `has the serial number ${parsed.serial} of line ${before} once more`);
    }
    seen.set(parsed.serial, number);
    lines.push(parsed);
  }
  return lines;
}

function parseLine(line: string, number: number): IndexLine {
  if (line.length > indexLineLengthMax) {
    throw wrong(number, `is longer than ${indexLineLengthMax} characters`);
  }
  const parts = fieldsOf(line);
  if (parts.length !== fieldCount) {
    throw wrong(number, `has ${parts.length} fields between tabs, and ${fieldCount} are wanted`);
  }
  const [flag, end, revocation, serial, , subject] = parts as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  if (!['V', 'R', 'E'].includes(flag)) {
    throw wrong(number, 'begins with another flag than V (valid), R (revoked) or E (expired)');
  }
  if ((flag === 'R') !== (revocation !== '')) {
    throw wrong(
      number,
      flag === 'R' ? 'is revoked without a time' : `has the flag ${flag} and a time of revocation`,
    );
  }
  const bytes = onelineBytes(subject);
  if (bytes === undefined) throw wrong(number, 'has a subject that is not one of openssl');
  return {
    line: number,
    serial: serialOf(serial, number),
    notAfter: timeOf(end, number, 'end'),
    revocation: flag === 'R' ? revocationOf(revocation, number) : undefined,
    subject: bytes,
  };
}

/** The text database writes a tab within a field as a backslash and a tab. */
function fieldsOf(line: string): string[] {
  return line.split(/(?<!\\)\t/).map((field) => field.replaceAll('\\\t', '\t'));
}

function serialOf(text: string, number: number): string {
  if (!/^[0-9A-Fa-f]+$/.test(text))
    throw wrong(number, 'has a serial number that is not hexadecimal');
  // Zero too: roots of old have it.
  const serial = normalSerial(text);
  if (serial.length > serialBytesMax * 2) {
    throw wrong(number, `has a serial number of more than ${serialBytesMax} bytes`);
  }
  return serial;
}

/** `time`, `time,reason` or `time,reason,argument`, as make_revocation_str of openssl writes it. */
function revocationOf(text: string, number: number): IndexRevocation {
  const [time, reason, argument, ...rest] = text.split(',') as [string, ...string[]];
  if (rest.length > 0) throw wrong(number, 'has a revocation of more than three parts');
  const revokedAt = timeOf(time, number, 'time of revocation');
  if (reason === undefined) return { revokedAt, reason: 'unspecified', invalidFrom: null };
  const known = reasons.get(reason.toLowerCase());
  if (known === undefined) throw wrong(number, 'has a reason of revocation that is not known');
  if (known === 'removeFromCRL') {
    throw wrong(
      number,
      'has the reason removeFromCRL, which says that the certificate is revoked no more: make it a V line',
    );
  }
  // The argument of a hold is an instruction, which RFC 5280 has no more; of others a time.
  const isInstruction = known.argument === 'instruction';
  if (known.argument === 'time' && argument === undefined) {
    throw wrong(number, `has the reason ${reason} without a time`);
  }
  return {
    revokedAt,
    reason: known.reason,
    invalidFrom:
      argument === undefined || isInstruction ? null : timeOf(argument, number, 'invalidity time'),
  };
}

interface KnownReason {
  readonly reason: RevocationReason;
  readonly argument: 'time' | 'instruction' | 'optional';
}

// openssl compares without regard to case, and writes CACompromise with a capital C.
const reasons: ReadonlyMap<string, KnownReason | 'removeFromCRL'> = new Map<
  string,
  KnownReason | 'removeFromCRL'
>([
  ...revocationReasonNames.map(
    (reason) => [reason.toLowerCase(), { reason, argument: 'optional' }] as const,
  ),
  ['holdinstruction', { reason: 'certificateHold', argument: 'instruction' }],
  ['keytime', { reason: 'keyCompromise', argument: 'time' }],
  ['cakeytime', { reason: 'cACompromise', argument: 'time' }],
  ['removefromcrl', 'removeFromCRL'],
]);

const timePattern = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/;

/** UTCTime or GeneralizedTime as RFC 5280, section 4.1.2.5, writes them. */
function timeOf(text: string, number: number, what: string): number {
  const found = timePattern.exec(text);
  if (found === null) throw wrong(number, `has a${vowel(what)} ${what} that is not YYMMDDHHMMSSZ`);
  const [, years, ...rest] = found as unknown as [string, string, ...string[]];
  const [month, day, hour, minute, second] = rest.map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const year =
    years.length === 4 ? Number(years) : Number(years) + (Number(years) >= 50 ? 1900 : 2000);
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  const read = new Date(time);
  // Date.UTC takes the 31st of February for a day in March, and years below 100 for others.
  const isReal =
    read.getUTCFullYear() === year &&
    read.getUTCMonth() === month - 1 &&
    read.getUTCDate() === day &&
    hour < 24 &&
    minute < 60 &&
    second < 60;
  // What a CRL cannot say would keep every CRL of the CA from being made.
  if (!isReal || time < timeRange.earliest)
    throw wrong(number, `has a${vowel(what)} ${what} that is no time`);
  return time;
}

function vowel(word: string): string {
  return /^[aeiou]/.test(word) ? 'n' : '';
}

function wrong(number: number, what: string): KeyreeveError {
  return new KeyreeveError('invalid-request', `Line ${number} of the index ${what}.`, {
    hint: 'Send the lines of index.txt as "openssl ca" writes them.',
    data: { line: number },
  });
}
