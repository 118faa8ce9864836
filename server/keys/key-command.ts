import type { Action } from '../../api/actions.ts';
import type { Caller } from '../base/caller.ts';
import type { Json } from '../base/canonical-json.ts';
import type { About, Commands, Outcome } from '../commands/commands.ts';
import { type KeyRecord, resourceOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';

export interface KeyCall {
  readonly caller: Caller;
  readonly params: { readonly key: string };
  readonly idempotencyKey: string | undefined;
}

/**
 * Runs a command on one key: found for the caller, authorised, then read afresh, so that what is
 * written rests on what is stored and not on a cache.
 */
export async function runOnKey<Result>(
  keys: Keys,
  commands: Commands,
  call: KeyCall,
  command: {
    readonly action: Action;
    readonly input: Json;
    readonly intent?: (key: KeyRecord) => { kind: string; payload: Json } | undefined;
    readonly about?: (key: KeyRecord) => About;
    act(key: KeyRecord, now: number): Promise<Outcome<Result>>;
    undo?(): Promise<void>;
  },
): Promise<Result> {
  const known = await keys.lookup(call.caller, call.params.key, command.action);
  const intent = command.intent?.(known);
  return commands.run<Result>(call.caller, {
    action: command.action,
    resource: resourceOf(known),
    about: { keyId: known.id, keyName: known.name, ...command.about?.(known) },
    input: [known.id, command.input],
    idempotencyKey: call.idempotencyKey,
    ...(intent === undefined ? {} : { intent }),
    act: async () => command.act(await keys.store.fresh(known.id), keys.clock.now()),
    ...(command.undo === undefined ? {} : { undo: command.undo }),
  });
}
