import type { Clock } from '../../base/clock.ts';
import type { Commands } from '../../commands/commands.ts';
import type { Keys } from '../../keys/keys.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Authorities } from '../authorities/authorities.ts';
import type { CertificateSigner } from './signer.ts';

/** What the handlers of this folder work with. */
export interface Context {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly keys: Keys;
  readonly authorities: Authorities;
  readonly signer: CertificateSigner;
  readonly commands: Commands;
  /** What a person should know now: goes into answers. */
  readonly notes: () => readonly string[];
  /** Called once a CRL is due. */
  readonly onRevoked: (caId: string, version: number) => void;
}
