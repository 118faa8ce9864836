import type { Clock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Mutexes } from '../../base/mutex.ts';
import type { Commands } from '../../commands/commands.ts';
import { type Keys, requireUsable } from '../../keys/keys.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Certificate } from '../../x509/x509.ts';
import type { Authorities } from '../authorities/authorities.ts';
import type { Authority } from '../authority.ts';

/** What the handlers of a take-over work with. */
export interface TakeoverParts {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly keys: Keys;
  readonly authorities: Authorities;
  readonly commands: Commands;
  /** What is taken in for a CA, one portion after the other. */
  readonly portions: Mutexes;
  /** Called once a CRL is due. */
  readonly onRevoked: (caId: string, version: number) => void;
}

/** A CA that came in has one version of its key, until the take-over is ended. */
export const importedVersion = 1;

/**
 * The certificate of a CA that is being taken over. Errors: `state-not-allowed`, `key-destroyed`,
 * `key-pending-destruction`: nothing living comes to rest on a key that is to go.
 */
export function importingCertificate(authority: Authority): Certificate {
  requireUsable(authority.key, 'sign-crl');
  const version = authority.versions[0];
  if (authority.state === 'importing' && version !== undefined) return version.certificate;
  throw new KeyreeveError(
    'state-not-allowed',
    `${authority.key.name} is not being taken over: it issues and publishes here.`,
    { hint: 'What it issued elsewhere is taken in before the take-over is ended.' },
  );
}
