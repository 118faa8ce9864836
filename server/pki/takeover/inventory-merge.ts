import { formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { newTimedId } from '../../base/ids.ts';
import type { Schema } from '../../storage/storage.ts';
import { type Certificate, parseCertificate, parseName } from '../../x509/x509.ts';
import { type CertificateRecord, recordOf, serialText, sha256 } from '../certificate-record.ts';
import type { IndexLine } from './index-file.ts';
import { onelineMatches, onelineOf, onelineText } from './oneline.ts';

/** The profile of what was issued elsewhere. */
export const importedProfile = 'imported';

type Row = Schema['certificate'];
/**
 * A row of the CA, or one whose issuer was not known when it came and is this CA. The certificate
 * itself is there where it may be needed.
 */
export type StoredRow = Omit<Row, 'created_at' | 'created_by' | 'names_json'>;

/** Whose inventory it is, and what new rows are marked with. */
export interface MergeContext {
  readonly ca: { readonly id: string; readonly version: number };
  /** The CA's own certificate. */
  readonly own: Certificate;
  readonly now: number;
  readonly createdBy: string;
}

export interface MergeCounts {
  added: number;
  completed: number;
  known: number;
}

/** What is to be written; nothing is while any line or certificate contradicts. */
export interface MergedInventory {
  readonly counts: Readonly<MergeCounts>;
  readonly added: readonly CertificateRecord[];
  readonly changed: readonly ChangedRow[];
  /** Fingerprints of the keys that were given up as compromised. */
  readonly compromised: readonly { readonly fingerprint: string; readonly reason: string }[];
}

export interface ChangedRow {
  readonly before: StoredRow;
  readonly after: Omit<Row, 'created_at' | 'created_by'>;
  readonly terms: readonly string[];
}

interface Slot {
  readonly stored: StoredRow | undefined;
  row: Omit<Row, 'created_at' | 'created_by'>;
  terms: readonly string[];
  isChanged: boolean;
}

/**
 * Lays lines of an index and certificates over what is stored: rows are added, completed, or known
 * already, in any order and as often as one likes. What contradicts is a `conflict` that names the
 * line or certificate.
 */
export class InventoryMerge {
  readonly #context: MergeContext;
  readonly #slots = new Map<string, Slot>();
  readonly #counts: MergeCounts = { added: 0, completed: 0, known: 0 };

  constructor(context: MergeContext, stored: readonly StoredRow[]) {
    this.#context = context;
    for (const row of stored) {
      const slot = { stored: row, row: { ...row, names_json: '[]' }, terms: [], isChanged: false };
      this.#slots.set(row.serial, slot);
    }
  }

  /** A line of the index. */
  addLine(line: IndexLine): void {
    const slot = this.#slots.get(line.serial);
    if (slot === undefined) {
      this.#slots.set(line.serial, this.#fromLine(line));
      this.#counts.added += 1;
      return;
    }
    requireSameEnd(slot.row, line.notAfter, `Line ${line.line} of the index`);
    if (!sameSubject(slot.row, line)) {
      throw contradiction(line, `${line.serial} is there with another subject`);
    }
    if (line.revocation !== undefined && slot.row.key_id === this.#context.ca.id) {
      throw contradiction(line, 'it revokes the certificate of the CA itself');
    }
    const isRevokedNow = this.#revoke(slot, line);
    if (this.#adopt(slot)) this.#counts.added += 1;
    else if (isRevokedNow) this.#counts.completed += 1;
    else this.#counts.known += 1;
  }

  /** A certificate whose issuer and signature were checked; `number` counts from one. */
  addCertificate(certificate: Certificate, number: number): void {
    const serial = serialText(certificate.serial);
    const fingerprint = sha256(certificate.der);
    const slot = this.#slots.get(serial);
    if (certificate.scheme === undefined) {
      this.#passOver(slot, serial, number);
      return;
    }
    const made = this.#fromCertificate(certificate);
    if (slot === undefined) {
      const { created_at: _, created_by: __, ...row } = made.row;
      this.#slots.set(serial, { stored: undefined, row, terms: made.terms, isChanged: false });
      this.#counts.added += 1;
      return;
    }
    const what = `Certificate ${number} of the bundle`;
    if (slot.row.fingerprint === fingerprint) {
      if (this.#adopt(slot)) this.#counts.added += 1;
      else this.#counts.known += 1;
      return;
    }
    if (slot.row.fingerprint !== null) {
      throw new KeyreeveError('conflict', `${what} is another one of the serial number ${serial}.`);
    }
    requireSameEnd(slot.row, certificate.notAfter, what);
    if (slot.row.subject !== made.row.subject && !matchesText(slot.row.subject, certificate)) {
      throw new KeyreeveError(
        'conflict',
        `${what} (${serial}) has another subject than its line in the index.`,
      );
    }
    const { id, revoked_at, reason, invalid_from } = slot.row;
    slot.row = { ...made.row, id, revoked_at, reason, invalid_from };
    slot.terms = made.terms;
    slot.isChanged = true;
    this.#counts.completed += 1;
  }

  /**
   * A signature that is not known, or not safe any more (SHA-1), proves nothing: nothing is taken
   * from the certificate, and its line of the index stands for it.
   */
  #passOver(slot: Slot | undefined, serial: string, number: number): void {
    if (slot === undefined) {
      throw new KeyreeveError(
        'invalid-request',
        `Certificate ${number} of the bundle (${serial}) is signed in a way that is not known or not safe.`,
        { hint: 'Send its line of the index first: that is enough to revoke it.' },
      );
    }
    this.#counts.known += 1;
  }

  /** What is to be written. */
  result(): MergedInventory {
    const { now, createdBy } = this.#context;
    const slots = [...this.#slots.values()];
    const touched = slots.filter((slot) => slot.stored === undefined || slot.isChanged);
    return {
      counts: this.#counts,
      added: slots
        .filter((slot) => slot.stored === undefined)
        .map(({ row, terms }) => ({
          row: { ...row, created_at: now, created_by: createdBy },
          terms,
        })),
      changed: slots
        .filter((slot) => slot.stored !== undefined && slot.isChanged)
        .map((slot) => ({ before: slot.stored!, after: slot.row, terms: slot.terms })),
      compromised: touched.flatMap(({ row }) =>
        row.key_fingerprint !== null && compromising.includes(row.reason ?? '')
          ? [{ fingerprint: row.key_fingerprint, reason: row.reason! }]
          : [],
      ),
    };
  }

  /** A certificate whose issuer was not known so far: the CA's own, or that of one below it. */
  #adopt(slot: Slot): boolean {
    if (slot.row.ca_id !== null) return false;
    const { ca } = this.#context;
    slot.row = { ...slot.row, ca_id: ca.id, ca_version: ca.version };
    slot.isChanged = true;
    return true;
  }

  #fromLine(line: IndexLine): Slot {
    const { ca, own, now } = this.#context;
    const slot: Slot = {
      stored: undefined,
      row: {
        id: newTimedId('crt', now),
        ca_id: ca.id,
        ca_version: ca.version,
        serial: line.serial,
        subject: onelineText(line.subject),
        profile: importedProfile,
        // An index does not say when: not before the CA.
        not_before: Math.min(own.notBefore, line.notAfter),
        not_after: line.notAfter,
        fingerprint: null,
        key_fingerprint: null,
        key_id: null,
        key_version: null,
        names_json: '[]',
        revoked_at: null,
        reason: null,
        invalid_from: null,
        der: null,
      },
      terms: [],
      isChanged: false,
    };
    this.#revoke(slot, line);
    return slot;
  }

  #fromCertificate(certificate: Certificate): CertificateRecord {
    const { ca, own, now, createdBy } = this.#context;
    // An older certificate of the CA's own key, signed by itself.
    const isOwnKey = certificate.spki.equals(own.spki);
    return recordOf(certificate, {
      ca,
      profile: importedProfile,
      createdAt: now,
      createdBy,
      ...(isOwnKey ? { key: ca } : {}),
    });
  }

  /** True where the line says more than was known: that a valid certificate is revoked. */
  #revoke(slot: Slot, line: IndexLine): boolean {
    const { revocation } = line;
    const { row } = slot;
    if (row.revoked_at === null) {
      if (revocation === undefined) return false;
      const { revokedAt, reason, invalidFrom } = revocation;
      slot.row = { ...row, revoked_at: revokedAt, reason, invalid_from: invalidFrom };
      slot.isChanged = true;
      return true;
    }
    if (revocation === undefined) {
      throw contradiction(
        line,
        `${line.serial} is revoked here since ${formatTime(row.revoked_at)}`,
      );
    }
    const isSame =
      row.revoked_at === revocation.revokedAt &&
      row.reason === revocation.reason &&
      row.invalid_from === revocation.invalidFrom;
    if (isSame) return false;
    throw contradiction(
      line,
      `${line.serial} is revoked here since ${formatTime(row.revoked_at)} for ${row.reason}`,
    );
  }
}

const compromising: readonly string[] = ['keyCompromise', 'cACompromise'];

/** Quick where the texts agree; else by the certificate, since a line can be read in two ways. */
function sameSubject(row: Slot['row'], line: IndexLine): boolean {
  if (row.subject === onelineText(line.subject)) return true;
  if (row.der === null) return false;
  return onelineMatches(line.subject, parseCertificate(Buffer.from(row.der)).subjectName);
}

/** Whether the text of a row that came from a line can be the certificate's subject. */
function matchesText(text: string, certificate: Certificate): boolean {
  return onelineMatches(onelineBytesOf(text), certificate.subjectName);
}

// What could be read as a name was stored in the form of RFC 4514, which begins with no slash.
function onelineBytesOf(text: string): Buffer {
  return text.startsWith('/') ? Buffer.from(text, 'utf8') : onelineOf(parseName(text));
}

function requireSameEnd(row: Slot['row'], notAfter: number, what: string): void {
  if (row.not_after === notAfter) return;
  throw new KeyreeveError(
    'conflict',
    `${what} (${row.serial}) ends on ${formatTime(notAfter)}, and what is known of it on ${formatTime(row.not_after)}.`,
  );
}

function contradiction(line: IndexLine, what: string): KeyreeveError {
  return new KeyreeveError('conflict', `Line ${line.line} of the index contradicts: ${what}.`, {
    hint: 'Nothing of this portion was taken in. Look at the certificate, then send what is right.',
    data: { line: line.line },
  });
}
