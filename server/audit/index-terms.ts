import { hash } from 'node:crypto';
import { entryFields } from '../../api/entry.ts';
import { asBuffer } from './leaf.ts';

const termLengthBytes = 16;
/** Short, as there is one for each entry: a bundle that it finds wrongly is opened for nothing. */
const callTermLengthBytes = 8;

/** Fields of few values in a bundle: a row for each of them and each bundle. */
export const termFields = {
  principalId: entryFields.principalId,
  keyId: entryFields.keyId,
  keyName: entryFields.keyName,
} as const;
export type TermField = keyof typeof termFields;

/** A row for each value of this one would be a row for each entry: its terms lie packed. */
export const callField = entryFields.correlationId;

/** The key of the search index: SHA-256 of `field:value`, cut to 16 bytes. */
export function searchTerm(field: TermField, value: string): Buffer {
  const text = hash('sha256', `${field}:${value}`, 'binary');
  return Buffer.from(text.slice(0, termLengthBytes), 'latin1');
}

/** What stands for a correlation id: SHA-256 of `correlationId:value`, cut to 8 bytes. */
export function callTerm(correlationId: string): Buffer {
  const terms = Buffer.alloc(callTermLengthBytes);
  writeCallTerm(terms, 0, correlationId);
  return terms;
}

/** Room for the terms of so many entries: zeros, as for entries without a correlation id. */
export function emptyCallTerms(entries: number): Buffer {
  return Buffer.alloc(entries * callTermLengthBytes);
}

/** Puts the term of the entry at this index of a bundle in its place. */
export function writeCallTerm(terms: Buffer, index: number, correlationId: string): void {
  const text = hash('sha256', `correlationId:${correlationId}`, 'binary');
  terms.write(text, index * callTermLengthBytes, callTermLengthBytes, 'latin1');
}

/** The terms of the first entries alone. */
export function firstCallTerms(terms: Buffer, entries: number): Buffer {
  return terms.subarray(0, entries * callTermLengthBytes);
}

/** Whether an entry of the bundle may have this correlation id. */
export function hasCallTerm(terms: Uint8Array, term: Buffer): boolean {
  const bytes = asBuffer(terms);
  let at = bytes.indexOf(term);
  while (at !== -1 && at % callTermLengthBytes !== 0) at = bytes.indexOf(term, at + 1);
  return at !== -1;
}
