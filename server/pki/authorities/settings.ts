import type { BodyOf } from '../../../api/route.ts';
import type { authorityRoutes, CaSettings } from '../../../api/routes/authorities.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Authorities } from './authority-ring.ts';

type Change = BodyOf<(typeof authorityRoutes)['ca.update']>['settings'];

/**
 * Refuses settings under which a CRL would end before the next one is out, or that name a profile
 * that is not there. Errors: `invalid-request`, `unknown-profile`.
 */
export async function checkSettings(
  authorities: Pick<Authorities, 'profile'>,
  settings: CaSettings,
): Promise<void> {
  if (settings.crlEverySeconds > settings.crlValiditySeconds) {
    throw new KeyreeveError(
      'invalid-request',
      `A CRL would be valid for ${settings.crlValiditySeconds} seconds, and the next one would come after ${settings.crlEverySeconds}.`,
      { hint: 'Publish more often than CRLs end: best several times as often.' },
    );
  }
  for (const name of settings.profiles ?? []) await authorities.profile(name);
}

/** The settings after a change: what is left out stays, null takes a limit away. */
export function changedSettings(before: CaSettings, change: Change): CaSettings {
  const { crlValiditySeconds, crlEverySeconds, ...limits } = change;
  const merged = {
    crlValiditySeconds: crlValiditySeconds ?? before.crlValiditySeconds,
    crlEverySeconds: crlEverySeconds ?? before.crlEverySeconds,
    profiles: kept(before.profiles, limits.profiles),
    validitySecondsMax: kept(before.validitySecondsMax, limits.validitySecondsMax),
    purgeAfterSeconds: kept(before.purgeAfterSeconds, limits.purgeAfterSeconds),
  };
  const set = Object.entries(merged).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set) as CaSettings;
}

function kept<Value>(before: Value | undefined, change: Value | null | undefined) {
  return change === undefined ? before : (change ?? undefined);
}
