import type { EntryDraft } from '../../api/entry.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { newId } from '../base/ids.ts';

/** An entry about something that the record did by itself. */
export function recordEvent(
  action: 'log.started' | 'log.continued' | 'record.archived',
  detail: { readonly [name: string]: Json },
  clock: Clock,
): EntryDraft {
  return {
    id: newId('ent'),
    time: formatTime(clock.now()),
    kind: 'event',
    action,
    outcome: 'ok',
    detail: canonicalJson(detail),
  };
}
