import type { Action } from '../../api/actions.ts';
import type { accessRoutes } from '../../api/routes/access.ts';
import type { certificateRoutes } from '../../api/routes/certificates.ts';
import type { Authorise, Caller, Resource } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';
import { AccessStore } from './access-store.ts';
import { Authoriser } from './authorise.ts';
import { BindingStore } from './binding-store.ts';
import { Bindings } from './bindings.ts';
import { CertificateStore } from './certificate-store.ts';
import { ClientAuthorities } from './client-authorities.ts';
import { ClientCertificates } from './client-certificates.ts';
import type { IncomingCall } from './credential.ts';
import { Credentials } from './credentials.ts';
import { enrolmentHandlers } from './enrolment.ts';
import {
  findHolders,
  foldersNamedByRules,
  type Holders,
  keysNamedByRules,
  type Question,
} from './holders.ts';
import { type LoginLog, loginHandlers } from './login.ts';
import { Principals, principalNotFound } from './principals.ts';
import { defaultRateLimits, LoginAttempts, type RateLimits, WrongTokens } from './rate-limits.ts';
import { RuleGuard } from './rule-guard.ts';
import { ruleHandlers } from './rule-handlers.ts';
import { RulesInForce } from './rules.ts';
import { Tokens } from './tokens.ts';

export type { IncomingCall } from './credential.ts';
export { createLoginCode, type LoginCodeOptions } from './login-code.ts';
export type { RateLimits } from './rate-limits.ts';

/** Tokens that ended are kept so long, for lists and questions. */
export const endedTokensKeptSeconds = 90 * 86_400;

export interface AccessOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly rateLimits?: Partial<RateLimits>;
  /** `login-code.json` in the data folder. */
  readonly loginCodeFile: string;
  /** SHA-256 of the SPKI of the CA `system/tls`, hexadecimal: login codes pin it. */
  readonly caFingerprint: () => string;
  readonly log: LoginLog;
}

/** The routes that access answers. */
export type AccessRouteId =
  | keyof typeof accessRoutes
  | Extract<keyof typeof certificateRoutes, `principal.${string}`>;

/** Who calls, and what they may do. */
export interface Access {
  /** Loads the engine and the rules; `authenticate` waits for it in any case. */
  ready(): Promise<void>;
  /**
   * Who calls, by a token or by a client certificate that TLS has proven. Errors:
   * `unauthenticated`, `rate-limited`. In memory for what was seen before, as long as nothing
   * changed.
   */
  authenticate(call: IncomingCall): Promise<Caller>;
  /** Throws `forbidden` unless the rules in force allow it to this caller. */
  readonly authorise: Authorise;
  /**
   * Asked before the answer of a call leaves that the epoch overtook. With action and resource:
   * whether that is still allowed; without: whether any right changed. Errors: `unauthenticated`,
   * `forbidden`.
   */
  recheck(caller: Caller, action?: Action, resource?: Resource): Promise<void>;
  /** Steps that fail a commit unless the caller's token or certificate, roles and rules stand as they stood. */
  stillAllowed(caller: Caller): readonly Step[];
  /** The id of a principal by id or name. Error: `not-found`. */
  principalId(reference: string): Promise<string>;
  /** Which active principals may do what of a list, by the rules in force: for access reviews. */
  holders(questions: readonly Question[]): Promise<Holders>;
  /** The keys that the rules in force name by their id. */
  namedKeys(): Promise<readonly string[]>;
  /** The folders that they name. */
  namedFolders(): Promise<readonly string[]>;
  handlers(commands: Commands): Handlers<AccessRouteId>;
  /**
   * Calls `changed` with the certificates (PEM) of the CAs that log clients in: now, and whenever
   * they are others. For the servers that name them to clients.
   */
  followClientAuthorities(changed: (authorities: readonly string[]) => void): Promise<void>;
  /** Forgets what ended long ago: for the scheduler. */
  expired(): readonly Step[];
}

/** Wires the parts of access together. Commands need it, and its handlers need commands. */
export function createAccess(options: AccessOptions): Access {
  const { storage, clock, log, loginCodeFile, caFingerprint } = options;
  const limits = { ...defaultRateLimits, ...options.rateLimits };
  const store = new AccessStore(storage);
  const rules = new RulesInForce(storage);
  const authoriser = new Authoriser(rules);
  const { authorise } = authoriser;
  const attempts = new LoginAttempts(storage, clock, limits);
  const wrongTokens = new WrongTokens(clock, limits);
  const certificateStore = new CertificateStore(storage);
  const certificates = new ClientCertificates(certificateStore, clock);
  const credentials = new Credentials({
    ...{ storage, store, certificates, clock, rules, authorise, wrongTokens },
  });
  const guard = new RuleGuard(store, rules);
  const principals = new Principals({ store, clock, authorise, guard });
  const tokenParts = { store, clock, authorise, principals, credentials };
  const tokens = new Tokens(tokenParts);
  const bindings = new Bindings({
    ...{ store, principals, authorise, clock },
    bindings: new BindingStore(storage),
  });
  const clientAuthorities = new ClientAuthorities(storage, certificateStore, log);
  return {
    ready: () => rules.refresh(),
    authenticate: (call) => credentials.authenticate(call),
    authorise,
    recheck: (caller, action, resource) => credentials.recheck(caller, action, resource),
    stillAllowed: (caller) => credentials.stillAllowed(caller),
    principalId: async (reference) => {
      const row = await store.principal(reference);
      if (row === undefined) throw principalNotFound(reference);
      return row.id;
    },
    holders: (questions) => findHolders(store, rules, questions),
    namedKeys: () => keysNamedByRules(rules),
    namedFolders: () => foldersNamedByRules(rules),
    handlers: (commands) => ({
      ...loginHandlers({ storage, store, clock, credentials, attempts, loginCodeFile, log }),
      ...principals.handlers(commands),
      ...enrolmentHandlers({ ...tokenParts, caFingerprint }, commands),
      ...tokens.handlers(commands),
      ...bindings.handlers(commands),
      ...ruleHandlers({ storage, clock, authorise, rules, guard }, commands),
    }),
    followClientAuthorities: (changed) => clientAuthorities.follow(changed),
    expired: () => [
      attempts.expired(),
      store.tokensEndedBefore(clock.now() - endedTokensKeptSeconds * 1000),
    ],
  };
}
