import type { Commands } from '../../commands/commands.ts';
import type { Authorities } from './authority-ring.ts';
import type { Signing } from './signing.ts';

/** What the handlers of this folder work with. */
export interface Parts {
  readonly authorities: Authorities;
  readonly signer: Signing;
  readonly commands: Commands;
}
