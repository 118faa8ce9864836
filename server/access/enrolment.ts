import { randomBytes } from 'node:crypto';
import {
  formatLoginCode,
  loginCodeSecretBytes,
  loginCodeTtlSeconds,
} from '../../api/login-code.ts';
import { formatTime } from '../base/clock.ts';
import type { Call, Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { PrincipalRow } from './access-store.ts';
import { loginCodeHash } from './login-code.ts';
import { requireActive } from './principals.ts';
import { enrolmentScopePrefix } from './scope.ts';
import { tokenChainMax } from './token-chain.ts';
import { chainTooLong, type TokensOptions, tokenRow } from './tokens.ts';
import { viewPrincipal } from './views.ts';

/** How long a person stays logged in: a working day. */
export const loginTtlSeconds = 12 * 3600;
/** How long the token of a service or a device lasts, unless its enrolment says otherwise. */
export const machineLoginTtlSeconds = 90 * 86_400;

export interface EnrolmentOptions extends TokensOptions {
  readonly caFingerprint: () => string;
}

/** Makes one-time login codes for principals, so that each gets a token of its own. */
export function enrolmentHandlers(
  options: EnrolmentOptions,
  commands: Commands,
): Handlers<'principal.enrol'> {
  return { 'principal.enrol': (call) => enrol(options, commands, call) };
}

async function enrol(options: EnrolmentOptions, commands: Commands, call: Call<'principal.enrol'>) {
  const { store, clock, credentials, principals } = options;
  const { caller } = call;
  const principal = await principals.find(caller, 'principal.enrol', call.params.principal);
  return commands.run(caller, {
    action: 'principal.enrol',
    resource: { type: 'principal', id: principal.id },
    about: { resource: principal.id },
    input: { principal: principal.id, ...call.body },
    idempotencyKey: call.idempotencyKey,
    act: async () => {
      requireActive(principal);
      const maker = await credentials.maker(caller);
      if (maker.depth >= tokenChainMax) throw chainTooLong();
      const now = clock.now();
      const secret = randomBytes(loginCodeSecretBytes);
      const tokenTtlSeconds = call.body.tokenTtlSeconds ?? ttlOf(principal);
      // A code ends with the token that made it, too; the token that a login gives does not.
      const row = tokenRow(
        {
          principal,
          scope: { enrolment: { tokenTtlSeconds } },
          label: 'login code',
          createdBy: caller.principalId,
          parentId: maker.id,
          now,
          expiresAt: Math.min(now + loginCodeTtlSeconds * 1000, maker.expiresAt),
        },
        loginCodeHash(secret),
      );
      const code = formatLoginCode(secret, options.caFingerprint());
      secret.fill(0);
      return {
        result: {
          principal: viewPrincipal(principal),
          code,
          expiresAt: formatTime(row.expires_at),
        },
        steps: [
          store.principalUnchanged(principal.id, principal.revision),
          store.revokeEnrolments(principal.id, enrolmentScopePrefix, now),
          store.insertToken(row),
        ],
        about: { detail: JSON.stringify({ code: row.id, tokenTtlSeconds }) },
      };
    },
  });
}

function ttlOf(principal: PrincipalRow): number {
  return principal.kind === 'person' ? loginTtlSeconds : machineLoginTtlSeconds;
}
