import type { Logger } from 'pino';
import type { AssuranceLevel } from '../../../api/assurance.ts';
import type { Clock } from '../../base/clock.ts';
import type { AdoptedKey, Keystore, KeystoreObject } from '../keystore.ts';
import type { TokenAbility } from './abilities.ts';
import type { CallLimits } from './call.ts';
import type { TokenFacts } from './protocol.ts';
import type { CheckedModule } from './settings.ts';
import type { SupervisorCounts } from './supervisor-counts.ts';
import type { TokenKey } from './token-keys.ts';
import type { TokenTransfer } from './transfer.ts';
import type { UseFiguresSnapshot } from './use-figures.ts';

export interface Pkcs11KeystoreOptions {
  /** The name in configuration and in `--keystore`. */
  readonly name: string;
  /** `pkcs11:token=T?module-path=/path/module.so&pin-source=file:/path` (RFC 7512). */
  readonly uri: string;
  readonly log: Logger;
  readonly clock: Clock;
  /** Further variables for the module's environment, beside those in the URI. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly limits?: Partial<CallLimits>;
  /** The level that the operator declares: counts where the token says nothing. */
  readonly assurance?: AssuranceLevel | undefined;
  /**
   * Asked before each start of the child: refuses a module that is not to be loaded, or tells its
   * real place and that of what its variables name.
   */
  readonly beforeStart?: (() => Promise<CheckedModule | undefined>) | undefined;
  /** `refusedPin` of a keystore that there was before, so that no PIN is tried twice. */
  readonly refusedPin?: string | undefined;
  /** What the token has refused on another node, asked before each start of the child. */
  readonly recallRefusedPin?: (() => Promise<string | undefined>) | undefined;
}

export interface Pkcs11Metrics extends SupervisorCounts, UseFiguresSnapshot {}

export interface Pkcs11Keystore extends Keystore {
  /** What module and token say about themselves. Errors: those of any use. */
  facts(): Promise<TokenFacts>;
  /** The private and secret keys of the token. */
  list(): Promise<TokenKey[]>;
  adopt(object: KeystoreObject): Promise<AdoptedKey>;
  /** The algorithms and schemes that the token has. */
  abilities(): Promise<TokenAbility[]>;
  /** Brings fresh keys to another token, and takes them in. */
  readonly transfer: TokenTransfer;
  /** Tells the state of the PIN file that the token refused; undefined where it refused none. */
  readonly refusedPin: string | undefined;
  metrics(): Pkcs11Metrics;
  /** Ends the child process. What waits is refused with `shutting-down`. */
  stop(): Promise<void>;
}
