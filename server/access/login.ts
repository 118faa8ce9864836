import { parseLoginCode } from '../../api/login-code.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers, Visitor } from '../base/handler.ts';
import { newId } from '../base/ids.ts';
import { type About, serviceEntry } from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';
import type { AccessStore, PrincipalRow } from './access-store.ts';
import type { Credential } from './credential.ts';
import type { Credentials } from './credentials.ts';
import { loginTtlSeconds } from './enrolment.ts';
import {
  isPending,
  loginCodeHash,
  type PendingLoginCode,
  readPendingLoginCode,
  removePendingLoginCode,
} from './login-code.ts';
import type { LoginAttempts } from './rate-limits.ts';
import { readRoles, writeRoles } from './scope.ts';
import { makeToken, tokenHash } from './token-format.ts';
import { tokenRow } from './tokens.ts';
import { viewPrincipal } from './views.ts';

/** The principal that a code from the host logs in. */
export const administratorName = 'administrator';

export interface LoginLog {
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
}

export interface LoginOptions {
  readonly storage: Storage;
  readonly store: AccessStore;
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly attempts: LoginAttempts;
  readonly loginCodeFile: string;
  readonly log: LoginLog;
}

/** What a good code leads to: who comes in, and what is written at the same time. */
interface Admission {
  readonly principal: PrincipalRow;
  readonly steps: readonly Step[];
  readonly tokenTtlSeconds: number;
  /** The code of the host, whose file goes once it is used. */
  readonly hostCode?: PendingLoginCode;
  readonly detail: { readonly by: 'host-code' | 'enrolment'; readonly principal: string };
}

/**
 * Turns a one-time code into a token. Codes come from the host (`keyreeve login-code`: the
 * administrator) or from `principal.enrol`. Every attempt counts against the address block; each
 * outcome goes on the record. Errors: `login-code-invalid`, `rate-limited`.
 */
export function loginHandlers(options: LoginOptions): Handlers<'login'> {
  return {
    login: async ({ body, visitor }) => {
      await options.attempts.take(visitor.address);
      try {
        const admission = await examine(options, body.code);
        const answer = await admit(options, visitor, admission);
        if (admission.hostCode !== undefined) forget(options, admission.hostCode);
        return answer;
      } catch (error) {
        await refused(options, visitor, error);
        throw error;
      }
    },
  };
}

async function examine(options: LoginOptions, text: string): Promise<Admission> {
  const code = parseLoginCode(text);
  if (code === undefined) throw invalid('The login code is mistyped or cut.');
  const hash = loginCodeHash(code.secret);
  // First, since a damaged file of the host's code keeps nobody else out.
  const enrolment = await options.credentials.enrolment(hash);
  if (enrolment !== undefined) return fromEnrolment(options, enrolment);
  const pending = readPendingLoginCode(options.loginCodeFile);
  if (pending !== undefined && isPending(pending, hash)) return fromHost(options, pending);
  throw invalid('The login code is not known: it was used, has expired, or is of another service.');
}

async function fromHost(options: LoginOptions, pending: PendingLoginCode): Promise<Admission> {
  const { storage, store, clock } = options;
  const now = clock.now();
  if (pending.expiresAt <= now) throw invalid('The login code has expired.');
  const use: Step = {
    query: storage.db
      .insertInto('used_login_code')
      .values({ code_hash: pending.hash, used_at: now })
      .compile(),
    expect: { rows: 1, code: 'login-code-invalid', message: 'The login code was used already.' },
  };
  const found = await store.principal(administratorName);
  const { principal, steps } = reinstate(options, found);
  return {
    principal,
    steps: [use, ...steps],
    tokenTtlSeconds: loginTtlSeconds,
    hostCode: pending,
    detail: {
      by: 'host-code',
      principal: found === principal ? 'as it was' : 'made administrator',
    },
  };
}

/**
 * Whoever holds the host can always become administrator: an installation whose administrators all
 * lost their tokens is not lost.
 */
function reinstate(options: LoginOptions, found: PrincipalRow | undefined) {
  const { store, clock } = options;
  const roles_json = writeRoles(['administrator']);
  if (found === undefined) {
    const principal: PrincipalRow = {
      id: newId('prn'),
      name: administratorName,
      kind: 'person',
      state: 'active',
      roles_json,
      created_at: clock.now(),
      created_by: null,
      revision: 1,
    };
    return { principal, steps: [store.insertPrincipal(principal)] };
  }
  const isWhole = found.state === 'active' && readRoles(found.roles_json).includes('administrator');
  if (isWhole) return { principal: found, steps: [unchanged(store, found)] };
  const principal = { ...found, state: 'active', roles_json, revision: found.revision + 1 };
  // Its old tokens were stopped with it, perhaps because one was stolen: none comes back to life.
  const steps = [store.updatePrincipal(found, principal), store.revokeAllOf(found.id, clock.now())];
  return { principal, steps };
}

async function fromEnrolment(options: LoginOptions, code: Credential): Promise<Admission> {
  const { store, clock } = options;
  const principal = await store.principal(code.principalId);
  if (principal === undefined) throw invalid('The principal of this code is gone.');
  return {
    principal,
    steps: [store.takeEnrolment(code.id, clock.now()), unchanged(store, principal)],
    tokenTtlSeconds: code.scope.enrolment!.tokenTtlSeconds,
    detail: { by: 'enrolment', principal: 'as it was' },
  };
}

async function admit(options: LoginOptions, visitor: Visitor, admission: Admission) {
  const { storage, store, clock } = options;
  const { principal } = admission;
  const now = clock.now();
  const token = makeToken();
  const row = tokenRow(
    {
      principal,
      scope: {},
      label: 'login',
      createdBy: principal.id,
      parentId: null,
      now,
      expiresAt: now + admission.tokenTtlSeconds * 1000,
    },
    tokenHash(token),
  );
  await storage.commit({
    steps: [...admission.steps, store.insertToken(row), options.attempts.clear(visitor.address)],
    entries: [
      entry(clock, visitor, 'ok', {
        principalId: principal.id,
        principalName: principal.name,
        credentialId: row.id,
        detail: canonicalJson(admission.detail),
      }),
    ],
    raisesEpoch: true,
  });
  return { token, principal: viewPrincipal(principal), expiresAt: formatTime(row.expires_at) };
}

/** A refusal goes on the record where it can; attempts above the limit are not recorded one by one. */
async function refused(options: LoginOptions, visitor: Visitor, error: unknown): Promise<void> {
  const code = error instanceof KeyreeveError ? error.code : 'internal';
  if (code === 'outcome-unknown') return;
  try {
    await options.storage.commit({
      steps: [],
      entries: [entry(options.clock, visitor, code, {})],
    });
  } catch (cause) {
    options.log.warn({ error: String(cause) }, 'a refused login could not be recorded');
  }
}

/** The file of a used code goes, unless the host has put another one there by now. */
function forget(options: LoginOptions, used: PendingLoginCode): void {
  try {
    if (readPendingLoginCode(options.loginCodeFile)?.hash === used.hash) {
      removePendingLoginCode(options.loginCodeFile);
    }
  } catch (error) {
    // It cannot work again: what was used is in the database.
    options.log.warn({ error: String(error) }, 'the file of a used login code was not removed');
  }
}

function unchanged(store: AccessStore, principal: PrincipalRow): Step {
  return store.principalUnchanged(principal.id, principal.revision);
}

function entry(clock: Clock, visitor: Visitor, outcome: string, about: About) {
  const { address, agent, correlationId } = visitor;
  return serviceEntry(clock, 'login', outcome, { ...about, address, agent, correlationId });
}

function invalid(message: string): KeyreeveError {
  return new KeyreeveError('login-code-invalid', message, {
    hint: 'Make a new code on the host with keyreeve login-code, or ask an administrator for one.',
  });
}
