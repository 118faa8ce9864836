import type { Action } from '../../../api/actions.ts';
import type { Caller } from '../../base/caller.ts';
import type { Json } from '../../base/canonical-json.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Intend, Intent, Outcome } from '../../commands/commands.ts';
import { requireAsAsked, resourceOf } from '../../keys/keys.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';
import type { IssuerFacts } from '../rules/rules.ts';
import type { Parts } from './parts.ts';

export interface AuthorityCall {
  readonly caller: Caller;
  readonly params: { readonly ca: string };
  readonly idempotencyKey: string | undefined;
}

/** The CA above, as it is stored now, and its version that issues. */
export interface Issuer {
  readonly authority: Authority;
  readonly version: AuthorityVersion;
  readonly facts: IssuerFacts;
}

/**
 * Runs a command on one CA: found for the caller and authorised, then read afresh and authorised
 * again, so that what is written rests on what is stored and not on a cache.
 */
export async function runOnAuthority<Result>(
  { authorities, commands }: Pick<Parts, 'authorities' | 'commands'>,
  call: AuthorityCall,
  command: {
    readonly action: Action;
    readonly input: Json;
    readonly intent?: (authority: Authority) => Intent | undefined;
    /** True where the CA above certifies this one. */
    readonly isCertified?: boolean;
    act(authority: Authority, now: number, intend: Intend): Promise<Outcome<Result>>;
    undo?(): Promise<void>;
  },
): Promise<Result> {
  const { caller } = call;
  const { action } = command;
  const { key } = await commands.prepare(caller, action, () =>
    authorities.lookup(caller, call.params.ca, action),
  );
  const known = await authorities.byId(key.id);
  const intent = command.intent?.(known);
  const above =
    command.isCertified && known.parentId !== null
      ? [certifying(await authorities.byId(known.parentId))]
      : [];
  return commands.run<Result>(caller, {
    action,
    resource: resourceOf(key),
    also: above,
    // Its settings change without its key.
    binds: { ca: known.revision },
    about: { keyId: key.id, keyName: key.name },
    input: [key.id, command.input],
    idempotencyKey: call.idempotencyKey,
    ...(intent === undefined ? {} : { intent }),
    act: async (intend) => {
      const authority = await authorities.store.fresh(key.id);
      requireAsAsked(known.key, authority.key);
      authorities.keys.authorise(caller, action, resourceOf(authority.key));
      return command.act(authority, authorities.clock.now(), intend);
    },
    ...(command.undo === undefined ? {} : { undo: command.undo }),
  });
}

/** What is done to the CA above, which approval rules look at, too. */
export function certifying({ key }: Authority) {
  return { action: 'ca.certify', resource: resourceOf(key) } as const;
}

/**
 * The CA that certifies another one, for a caller who wants it to certify once more. Errors:
 * `state-not-allowed` where it is none of ours, `forbidden`, and those of `Authorities.current`.
 */
export async function issuerAbove(
  { authorities }: Pick<Parts, 'authorities'>,
  caller: Caller,
  authority: Authority,
  now: number,
): Promise<Issuer> {
  const { key, parentId } = authority;
  if (parentId === null) {
    throw new KeyreeveError(
      'state-not-allowed',
      `${key.name} is certified by a CA that is not in this installation.`,
      { hint: 'Have that CA certify it anew and take it over again, or make a new CA here.' },
    );
  }
  const above = await authorities.store.fresh(parentId);
  authorities.keys.authorise(caller, 'ca.certify', resourceOf(above.key));
  const version = authorities.current(above, now);
  const facts = await authorities.issuerFacts(above, version);
  return { authority: above, version, facts };
}
