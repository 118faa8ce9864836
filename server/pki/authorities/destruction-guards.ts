import type { KeysOptions } from '../../keys/keys.ts';
import type { Storage } from '../../storage/storage.ts';

/**
 * A CA is not destroyed while others rest on it: as long as a certificate that it issued, but for
 * its own, is neither over nor revoked for good.
 */
export function destructionGuards({ db }: Storage): NonNullable<KeysOptions['destructionGuards']> {
  return (key, now) => {
    if (key.purpose !== 'ca') return [];
    const living = db
      .selectFrom('certificate')
      .select('id')
      .where('ca_id', '=', key.id)
      .where('not_after', '>', now)
      .where((expression) =>
        expression.or([
          expression('revoked_at', 'is', null),
          expression('reason', '=', 'certificateHold'),
        ]),
      )
      .where((expression) =>
        expression.or([expression('key_id', 'is', null), expression('key_id', '!=', key.id)]),
      )
      .limit(1);
    return [
      {
        query: living.compile(),
        expect: {
          rows: 0,
          code: 'ca-in-use',
          message: `${key.name} has issued certificates that are still valid.`,
          hint: `Revoke them first, or wait for their end: keyreeve cert list --ca ${key.name} --state valid`,
        },
      },
    ];
  };
}
