import { hash } from 'node:crypto';
import type { Action } from '../../api/actions.ts';
import type { Authorise, Caller, Resource } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { isId } from '../base/ids.ts';
import { LruMap } from '../base/lru-map.ts';
import type { Step, Storage } from '../storage/storage.ts';
import type { AccessStore, TokenWithPrincipal } from './access-store.ts';
import type { CertificateRow } from './certificate-store.ts';
import type { ClientCertificates } from './client-certificates.ts';
import {
  type Credential,
  callerOf,
  expired,
  type IncomingCall,
  noCredential,
  rightsText,
  UnknownCredential,
} from './credential.ts';
import type { WrongTokens } from './rate-limits.ts';
import type { RulesInForce } from './rules.ts';
import { readScope } from './scope.ts';
import { credentialOfToken } from './token-chain.ts';
import { isToken, tokenLengthLetters } from './token-format.ts';

/** Credentials kept in memory. */
export const credentialsMax = 20_000;

export interface CredentialsOptions {
  readonly storage: Storage;
  readonly store: AccessStore;
  readonly certificates: ClientCertificates;
  readonly clock: Clock;
  readonly rules: RulesInForce;
  readonly authorise: Authorise;
  readonly wrongTokens: WrongTokens;
}

/** What a read of a credential finds, under which epoch and rules. */
interface Read {
  readonly epoch: number;
  readonly rulesVersion: number;
}

/**
 * Finds out who calls: by the hash of the token or of the client certificate, in memory as long as
 * the epoch stands still.
 */
export class Credentials {
  readonly #options: CredentialsOptions;
  /**
   * By the hash of a token (base64) or of a certificate (hexadecimal), and by id. One of an older
   * epoch is read again before it counts.
   */
  readonly #known = new LruMap<string, Credential>(credentialsMax);
  readonly #reading = new Map<string, Promise<Credential>>();

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  /**
   * Who calls. A token wins over a certificate. Errors: `unauthenticated` (nothing shown, unknown,
   * expired, revoked, its maker's or its CA's time ended, nobody's, principal disabled),
   * `rate-limited` (too many wrong ones from the address block).
   */
  async authenticate(call: IncomingCall): Promise<Caller> {
    const { bearer, certificate, address } = call;
    const isToken = bearer !== undefined && bearer !== '';
    if (!isToken && certificate === undefined) throw noCredential();
    const { storage, clock } = this.#options;
    const slot = isToken ? slotOfToken(bearer) : certificate;
    let credential = slot === undefined ? undefined : this.#known.get(slot);
    if (credential === undefined || credential.epoch !== storage.epoch) {
      // An address that sent too many wrong ones still gets in with one known to be good.
      if (credential === undefined) this.#options.wrongTokens.check(address);
      credential = await this.#find(address, () =>
        isToken ? this.#byToken(bearer, slot) : this.#byCertificate(certificate!),
      );
    }
    if (credential.expiresAt <= clock.now()) throw expired(credential);
    return callerOf(credential, call);
  }

  /**
   * Whether the call still stands, after the epoch rose while it was under way: with the action and
   * the resource, whether that is still allowed; without, whether any right changed. Errors:
   * `unauthenticated`, `forbidden`.
   */
  async recheck(caller: Caller, action?: Action, resource?: Resource): Promise<void> {
    const { storage, rules, clock, authorise } = this.#options;
    if (caller.epoch === storage.epoch && rules.current.version === caller.standing?.rulesVersion) {
      return;
    }
    const credential = await this.byId(caller.credentialId);
    if (credential.expiresAt <= clock.now()) throw expired(credential);
    if (action !== undefined && resource !== undefined) {
      authorise(callerOf(credential, caller), action, resource);
    } else if (rightsText(credential) !== rightsText(caller)) {
      throw new KeyreeveError('forbidden', 'The rights of the caller were changed meanwhile.', {
        hint: 'Repeat the request.',
      });
    }
  }

  /**
   * Steps that fail a write unless what the caller showed, its principals and the rules stand as
   * they stood.
   */
  stillAllowed(caller: Caller): readonly Step[] {
    const { store, certificates, clock } = this.#options;
    const { standing } = caller;
    if (standing === undefined) throw noCredential();
    const { certificate } = standing;
    return [
      ...(certificate === undefined
        ? [store.tokenAlive(caller.credentialId, clock.now())]
        : certificates.stillStand(certificate, caller.principalId, clock.now())),
      ...standing.principals.map(({ id, revision }) => store.principalUnchanged(id, revision)),
      store.rulesUnchanged(standing.rulesVersion),
    ];
  }

  /** The credential with this id as it is now. Error: `unauthenticated` where it has ended. */
  byId(id: string): Promise<Credential> {
    const { store, certificates } = this.#options;
    return isId(id, 'crt')
      ? this.#read(id, () => certificates.byId(id), this.#ofCertificate)
      : this.#read(id, () => store.tokenById(id), this.#ofToken);
  }

  /**
   * The token of a caller who wants to make another with it. Error: `forbidden` for a caller by
   * certificate: what it made could outlive the certificate's revocation.
   */
  async maker(caller: Caller): Promise<Credential> {
    if (caller.standing?.certificate === undefined) return this.byId(caller.credentialId);
    throw new KeyreeveError(
      'forbidden',
      'A client certificate makes no tokens: the certificate itself is the credential.',
      { hint: 'Log in with a code for that: keyreeve login --code CODE' },
    );
  }

  /** A login code that may still be used, by its hash; undefined where there is none. */
  async enrolment(codeHash: Uint8Array): Promise<Credential | undefined> {
    const { store, storage, rules, clock } = this.#options;
    const row = await store.tokenByHash(codeHash);
    if (row === undefined || readScope(row.scope_json).enrolment === undefined) return undefined;
    try {
      const read = { epoch: storage.epoch, rulesVersion: rules.current.version };
      const credential = await credentialOfToken(store, row, read);
      return credential.expiresAt > clock.now() ? credential : undefined;
    } catch (error) {
      if (error instanceof KeyreeveError && error.code === 'unauthenticated') return undefined;
      throw error;
    }
  }

  async #find(address: string, find: () => Promise<Credential>): Promise<Credential> {
    try {
      return await find();
    } catch (error) {
      // What ended is no guess: a client that forgot to log in again must not lock out everybody
      // behind its address.
      if (error instanceof UnknownCredential) this.#options.wrongTokens.count(address);
      throw error;
    }
  }

  async #byToken(bearer: string, digest: string | undefined): Promise<Credential> {
    if (digest === undefined || !isToken(bearer)) {
      throw new UnknownCredential('unauthenticated', 'This is not a whole token of Keyreeve.', {
        hint: 'Give the token as it was shown: krv_ and 49 letters and digits.',
      });
    }
    const find = () => this.#options.store.tokenByHash(Buffer.from(digest, 'base64'));
    const found = await this.#read(digest, find, this.#ofToken);
    if (found.scope.enrolment !== undefined) throw unknownToken();
    return found;
  }

  #byCertificate(fingerprint: string): Promise<Credential> {
    const find = () => this.#options.certificates.byFingerprint(fingerprint);
    return this.#read(fingerprint, find, this.#ofCertificate);
  }

  readonly #ofToken = async (row: TokenWithPrincipal | undefined, read: Read) => {
    if (row === undefined) throw unknownToken();
    return credentialOfToken(this.#options.store, row, read);
  };

  readonly #ofCertificate = async (row: CertificateRow | undefined, read: Read) => {
    if (row === undefined) throw unknownCertificate();
    return this.#options.certificates.credential(row, read);
  };

  /** Reads a credential once for all that wait for it, and keeps it. */
  async #read<Row>(
    slot: string,
    find: () => Promise<Row>,
    derive: (row: Row, read: Read) => Promise<Credential>,
  ): Promise<Credential> {
    const { storage } = this.#options;
    for (;;) {
      const known = this.#known.get(slot);
      if (known !== undefined && known.epoch === storage.epoch) return known;
      const under = this.#reading.get(slot);
      if (under !== undefined) {
        const credential = await under;
        // Begun before the epoch rose: too old for a caller who came after.
        if (credential.epoch === storage.epoch) return credential;
        continue;
      }
      const begun = this.#begin();
      const reading = Promise.all([find(), begun]).then(([row, read]) => derive(row, read));
      this.#reading.set(slot, reading);
      try {
        const credential = await reading;
        this.#known.set(slot, credential);
        return credential;
      } catch (error) {
        this.#known.delete(slot);
        throw error;
      } finally {
        this.#reading.delete(slot);
      }
    }
  }

  /** The epoch before anything is read, and the rules once they are those of that epoch. */
  async #begin(): Promise<Read> {
    const { storage, rules } = this.#options;
    const { epoch } = storage;
    await rules.refresh();
    return { epoch, rulesVersion: rules.current.version };
  }
}

function slotOfToken(bearer: string): string | undefined {
  return bearer.length === tokenLengthLetters ? hash('sha256', bearer, 'base64') : undefined;
}

function unknownToken(): KeyreeveError {
  return new UnknownCredential('unauthenticated', 'The token is not known here.', {
    hint: 'Log in again, or ask for a new token.',
  });
}

function unknownCertificate(): KeyreeveError {
  return new UnknownCredential('unauthenticated', 'The client certificate is not known here.', {
    hint: 'Call with one that a CA of this installation has issued, or with a token.',
  });
}
