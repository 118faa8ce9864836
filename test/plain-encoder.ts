import { hash } from 'node:crypto';
import type { EntryDraft } from '../api/entry.ts';

/** An encoder of entries for tests of storage alone: the opening is the draft as JSON. */
export function encodeEntry(draft: EntryDraft): { leaf: Uint8Array; opening: Uint8Array } {
  if (draft.detail === 'refuse') throw new TypeError('this entry cannot be encoded');
  // In a worker this ends the thread alone.
  if (draft.detail === 'end the thread') process.exit(1);
  const opening = Buffer.from(JSON.stringify(draft));
  return { leaf: hash('sha256', opening, 'buffer'), opening };
}
