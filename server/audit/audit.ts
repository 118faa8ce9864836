import { LiveRecord } from './live-record.ts';
import type { AuditOptions, AuditRecord } from './record.ts';

export { type ExportFile, type ExportOptions, writeExport } from './export.ts';
export { type Problem, type ProblemCode, problemCodes, type VerifyResult } from './findings.ts';
export { entryValueLimitBytes, openingLimitBytes } from './leaf.ts';
export type { Sealer } from './log-key.ts';
export { isLogKeyLine, type LogNote, openLogNote, signLogNote } from './log-notes.ts';
export type {
  AuditHealth,
  AuditOptions,
  AuditRecord,
  EntryProof,
  ServedResource,
} from './record.ts';
export type { Retained } from './retention.ts';
export { type RecordEntry, type SearchQuery, type SearchResult, searchLimit } from './search.ts';
export { verifyConsistency, verifyInclusion } from './tree.ts';
export { type VerifyExportOptions, verifyExport } from './verify-export.ts';
export type { VerifyLiveOptions } from './verify-live.ts';

/** The module that storage loads to encode entries off the main thread. */
export const entryEncoder = new URL('./leaf.ts', import.meta.url);

/** Makes the record over a storage. Nothing happens before `start`. */
export function createRecord(options: AuditOptions): AuditRecord {
  return new LiveRecord(options);
}
