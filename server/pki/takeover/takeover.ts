import type { Handlers } from '../../base/handler.ts';
import { Mutexes } from '../../base/mutex.ts';
import type { Commands } from '../../commands/commands.ts';
import type { Authorities } from '../authorities/authorities.ts';
import { finishImport } from './finish-import.ts';
import { importAuthority } from './import-authority.ts';
import { importCertificates } from './import-certificates.ts';

/**
 * The routes by which a CA that was run elsewhere is taken over: its key and certificate, then what
 * it issued and revoked, in portions, then the end, from which on it issues and publishes here. Its
 * CRL goes on with the next number.
 */
export function createTakeoverHandlers(options: {
  readonly authorities: Authorities;
  readonly commands: Commands;
  /** Called once a CRL is due. */
  readonly onRevoked: (caId: string, version: number) => void;
}): Handlers<'ca.import' | 'ca.import-certificates' | 'ca.import-finish'> {
  const { keys, clock } = options.authorities;
  const parts = { ...options, keys, clock, storage: keys.storage, portions: new Mutexes() };
  return {
    'ca.import': (call) => importAuthority(parts, call),
    'ca.import-certificates': (call) => importCertificates(parts, call),
    'ca.import-finish': (call) => finishImport(parts, call),
  };
}
