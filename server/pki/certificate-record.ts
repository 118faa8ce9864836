import { hash } from 'node:crypto';
import { newTimedId } from '../base/ids.ts';
import { compiledOnce, type Schema, type Step, type Storage } from '../storage/storage.ts';
import type { Certificate, GeneralName } from '../x509/x509.ts';
import { formatName } from '../x509/x509.ts';

/** Search terms of one statement: databases limit its parameters. */
const termsPerInsert = 1000;

/** Of a row, all but the certificate itself, which is long. */
export const certificateColumns = [
  'id',
  'ca_id',
  'ca_version',
  'serial',
  'subject',
  'profile',
  'not_before',
  'not_after',
  'fingerprint',
  'key_fingerprint',
  'key_id',
  'key_version',
  'names_json',
  'created_at',
  'created_by',
  'revoked_at',
  'reason',
  'invalid_from',
] as const satisfies readonly (keyof Schema['certificate'])[];

/** In the order in which a row is written. */
const columns = [...certificateColumns, 'der'] as const;

/** A row of `certificate`, and what it is searched by. */
export interface CertificateRecord {
  readonly row: Schema['certificate'];
  readonly terms: readonly string[];
}

export interface IssuedBy {
  /** Key id and version of the CA; undefined where the issuer is none of ours. */
  readonly ca: { readonly id: string; readonly version: number } | undefined;
  readonly profile: string;
  readonly createdAt: number;
  readonly createdBy: string;
  /** The key of ours that is certified. */
  readonly key?: { readonly id: string; readonly version: number } | undefined;
}

type RecordedField = 'serial' | 'subjectName' | 'notBefore' | 'notAfter' | 'spki' | 'extensions';

/** The row of a certificate that was signed or taken over. */
export function recordOf(
  certificate: Pick<Certificate, RecordedField> & { readonly der: Buffer | null },
  by: IssuedBy,
): CertificateRecord {
  const names = certificate.extensions.subjectAltNames ?? [];
  const { der } = certificate;
  return {
    row: {
      id: newTimedId('crt', by.createdAt),
      ca_id: by.ca?.id ?? null,
      ca_version: by.ca?.version ?? null,
      serial: serialText(certificate.serial),
      subject: formatName(certificate.subjectName),
      profile: by.profile,
      not_before: certificate.notBefore,
      not_after: certificate.notAfter,
      fingerprint: der === null ? null : sha256(der),
      key_fingerprint: sha256(certificate.spki),
      key_id: by.key?.id ?? null,
      key_version: by.key?.version ?? null,
      names_json: JSON.stringify(names.map(nameText)),
      created_at: by.createdAt,
      created_by: by.createdBy,
      revoked_at: null,
      reason: null,
      invalid_from: null,
      der,
    },
    terms: [...new Set(names.map((name) => searchTerm(name)))],
  };
}

/** Writes a certificate and its search terms. A serial that is there already is a `conflict`. */
export function insertCertificate(storage: Storage, record: CertificateRecord): readonly Step[] {
  return insertCertificates(storage, [record]);
}

/** Many at once, by few statements. */
export function insertCertificates(
  storage: Storage,
  records: readonly CertificateRecord[],
): readonly Step[] {
  if (records.length === 0) return [];
  const { db } = storage;
  const rows = records.map(({ row }) => row);
  const terms = records.flatMap(({ row, terms: own }) =>
    own.map((term) => ({ term, certificate_id: row.id })),
  );
  return [
    {
      query: compiledOnce(
        storage,
        `insert certificates ${rows.length}`,
        rows.flatMap((row) => columns.map((column) => row[column])),
        () => db.insertInto('certificate').values(rows.map(ordered)).compile(),
      ),
      expect: {
        rows: rows.length,
        code: 'conflict',
        message: 'A serial number is taken.',
        hint: 'Repeat the request: it gets another number.',
      },
    },
    ...portions(terms, termsPerInsert).map((values) => ({
      query: compiledOnce(
        storage,
        `insert names ${values.length}`,
        values.flatMap(({ term, certificate_id }) => [term, certificate_id]),
        () => db.insertInto('certificate_name').values(values).compile(),
      ),
    })),
  ];
}

function ordered(row: Schema['certificate']): Schema['certificate'] {
  const entries = columns.map((column) => [column, row[column]]);
  return Object.fromEntries(entries) as Schema['certificate'];
}

function portions<Item>(items: readonly Item[], size: number): Item[][] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, index) => items.slice(index * size, (index + 1) * size));
}

/** Two digits to a byte, lower case. */
export function serialText(serial: Uint8Array): string {
  return Buffer.from(serial.buffer, serial.byteOffset, serial.byteLength).toString('hex');
}

/** What people type or paste (upper case, colons, leading zeros) as it is stored. */
export function normalSerial(text: string): string {
  const digits = text
    .replaceAll(':', '')
    .toLowerCase()
    .replace(/^0+(?=.)/, '');
  return digits.length % 2 === 0 ? digits : `0${digits}`;
}

export function nameText(name: GeneralName): string {
  return `${name.kind}:${name.value}`;
}

/** A name as it is searched by: what follows a domain's labels lies next to it. */
export function searchTerm(name: GeneralName): string {
  if (name.kind === 'dns') return `dns:${turned(name.value)}`;
  if (name.kind !== 'email') return nameText(name);
  const at = name.value.lastIndexOf('@');
  return `email:${turned(name.value.slice(at + 1))}@${name.value.slice(0, Math.max(0, at))}`;
}

/** The labels of a domain from the last to the first, in lower case. */
export function turned(domain: string): string {
  return domain.toLowerCase().split('.').reverse().join('.');
}

export function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
