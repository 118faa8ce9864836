import type { Bound, Caller, Standing } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { TokenScope } from './scope.ts';

/** A call as it came in, before anybody knows whose it is. */
export interface IncomingCall {
  /** The token of `Authorization: Bearer`; undefined where there is none. */
  readonly bearer: string | undefined;
  /**
   * SHA-256 (hexadecimal) of the client certificate whose key TLS has proven; it counts where there
   * is no token.
   */
  readonly certificate?: string | undefined;
  readonly address: string;
  readonly agent: string;
  readonly correlationId: string;
}

/** A token or certificate that was found good, with its rights. Frozen: many calls share it. */
export interface Credential {
  readonly id: string;
  readonly principalId: string;
  readonly principalName: string;
  readonly roles: readonly string[];
  readonly folders: readonly string[] | undefined;
  readonly scope: TokenScope;
  readonly standing: Standing;
  /** The earliest end: of the tokens along the chain of makers, of the certificates up to a root. */
  readonly expiresAt: number;
  /** How many tokens stand above this one. */
  readonly depth: number;
  /** The epoch before it was read. */
  readonly epoch: number;
}

/** A token or certificate that was never one of ours: somebody may be guessing. */
export class UnknownCredential extends KeyreeveError {}

export function callerOf(
  credential: Credential,
  call: Omit<IncomingCall, 'bearer' | 'certificate'>,
): Caller {
  return {
    principalId: credential.principalId,
    principalName: credential.principalName,
    roles: credential.roles,
    credentialId: credential.id,
    folders: credential.folders,
    address: call.address,
    agent: call.agent,
    correlationId: call.correlationId,
    epoch: credential.epoch,
    standing: credential.standing,
  };
}

export function freezeCredential(credential: Credential): Credential {
  Object.freeze(credential.roles);
  Object.freeze(credential.standing);
  Object.freeze(credential.standing.bounds);
  for (const bound of credential.standing.bounds) Object.freeze(bound.roles);
  return Object.freeze(credential);
}

/** The rights that a call has, as text: the same text, the same rights. */
export function rightsText(of: Caller | Credential): string {
  return JSON.stringify([of.roles, of.folders ?? null, of.standing]);
}

export function isSameBound(a: Bound, b: Bound): boolean {
  return a.principalId === b.principalId && a.roles.join('\n') === b.roles.join('\n');
}

export function requireActivePrincipal(row: {
  readonly principal_name: string;
  readonly principal_state: string;
}): void {
  if (row.principal_state === 'active') return;
  throw new KeyreeveError('unauthenticated', `"${row.principal_name}" is disabled.`, {
    hint: 'Ask an administrator.',
  });
}

/** What to say of a credential whose time is over. */
export function expired(credential: Credential): KeyreeveError {
  return credential.standing.certificate === undefined
    ? tokenEnded('has expired')
    : certificateRefused('has expired');
}

export function noCredential(): KeyreeveError {
  return new KeyreeveError('unauthenticated', 'The request carries no token.', {
    hint: 'Log in: keyreeve login --code CODE',
  });
}

export function tokenEnded(how: string): KeyreeveError {
  return new KeyreeveError('unauthenticated', `The token ${how}.`, {
    hint: 'Log in again, or ask for a new token.',
  });
}

/** Whoever hears it has the key of the certificate. */
export function certificateRefused(how: string): KeyreeveError {
  return new KeyreeveError('unauthenticated', `The client certificate ${how}.`, {
    hint: 'Call with another certificate or with a token.',
  });
}
