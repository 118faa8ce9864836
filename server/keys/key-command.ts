import type { Action } from '../../api/actions.ts';
import type { Caller } from '../base/caller.ts';
import type { Json } from '../base/canonical-json.ts';
import type { About, Commands, Outcome } from '../commands/commands.ts';
import { type KeyRecord, requireAsAsked, resourceOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';

export interface KeyCall {
  readonly caller: Caller;
  readonly params: { readonly key: string };
  readonly idempotencyKey: string | undefined;
}

/**
 * Runs a command on one key: found for the caller and authorised, then read afresh and authorised
 * again, so that what is written rests on what is stored and not on a cache. The write is refused
 * where the key changes after that.
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
  const { caller } = call;
  const { action } = command;
  const known = await commands.prepare(caller, action, () =>
    keys.lookup(caller, call.params.key, action),
  );
  const intent = command.intent?.(known);
  return commands.run<Result>(caller, {
    action,
    resource: resourceOf(known),
    about: { keyId: known.id, keyName: known.name, ...command.about?.(known) },
    input: [known.id, command.input],
    idempotencyKey: call.idempotencyKey,
    ...(intent === undefined ? {} : { intent }),
    act: async () => {
      const key = await keys.store.fresh(known.id);
      requireAsAsked(known, key);
      keys.authorise(caller, action, resourceOf(key));
      return command.act(key, keys.clock.now());
    },
    ...(command.undo === undefined ? {} : { undo: command.undo }),
  });
}
