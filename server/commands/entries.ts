import type { Action } from '../../api/actions.ts';
import type { EntryDraft, EntryKind } from '../../api/entry.ts';
import type { Event } from '../../api/events.ts';
import type { Caller } from '../base/caller.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import type { About } from './command.ts';

/** An entry by this caller, now: for commands and uses alike. */
export function callerEntry(
  clock: Clock,
  caller: Caller,
  kind: EntryKind,
  action: Action | Event,
  outcome: string,
  about: About,
): EntryDraft {
  return {
    principalId: caller.principalId,
    principalName: caller.principalName,
    credentialId: caller.credentialId,
    address: caller.address,
    agent: caller.agent,
    correlationId: caller.correlationId,
    ...about,
    id: newId('ent'),
    time: formatTime(clock.now()),
    kind,
    action,
    outcome,
  };
}

/** An entry by the service itself. */
export function serviceEntry(
  clock: Clock,
  action: Action | Event,
  outcome: string,
  about: About,
): EntryDraft {
  return {
    ...about,
    id: newId('ent'),
    time: formatTime(clock.now()),
    kind: 'event',
    action,
    outcome,
  };
}
