import type { TestContext } from 'node:test';
import pino from 'pino';
import type { EntryDraft } from '../../api/entry.ts';
import type { ResponseOf } from '../../api/route.ts';
import type { keyRoutes } from '../../api/routes/keys.ts';
import { keyAdoptBody } from '../../api/routes/keys.ts';
import { startSoftHsm, type TestSoftHsm } from '../../test/softhsm.ts';
import { systemClock } from '../base/clock.ts';
import type { Keystore } from '../keystores/keystores.ts';
import { createPkcs11Keystore } from '../keystores/pkcs11/pkcs11.ts';
import type { Storage } from '../storage/storage.ts';
import { openTestKeys } from './testing.ts';

type Adopted = ResponseOf<(typeof keyRoutes)['key.adopt']>;

/**
 * Keys over a database and a SoftHSM2 token, as the keystore `hsm`; `change` stands between the two.
 * Undefined where SoftHSM2 is not here: the test is skipped by name then.
 */
export async function openHardware(
  t: TestContext,
  change: (keystore: Keystore) => Keystore = (keystore) => keystore,
) {
  const hsm = startSoftHsm(t);
  if (hsm === undefined) return undefined;
  const keystore = createPkcs11Keystore({
    name: 'hsm',
    uri: hsm.uri,
    log: pino({ level: 'silent' }),
    clock: systemClock,
  });
  const keys = await openTestKeys({ furtherKeystores: [change(keystore)] });
  t.after(async () => {
    await keys.close();
    await keystore.stop();
    hsm.remove();
  });
  const adopt = (body: object): Promise<Adopted> =>
    keys.handlers['key.adopt']({
      caller: keys.caller(),
      params: {},
      query: {},
      body: keyAdoptBody.parse(body),
      idempotencyKey: undefined,
    });
  return { ...keys, hsm, keystore, adopt, entries: watchEntries(keys.storage) };
}

export type Hardware = NonNullable<Awaited<ReturnType<typeof openHardware>>>;

/** A private key that the tools of the token made, and not we. */
export function makeObject(
  hsm: TestSoftHsm,
  type: string,
  names: { label: string; id: string },
  more: readonly string[] = [],
): void {
  hsm.tool([
    ...['--keypairgen', '--key-type', type, '--label', names.label, '--id', names.id],
    ...more,
  ]);
}

/** All entries that are committed from now on. */
function watchEntries(storage: Storage): EntryDraft[] {
  const entries: EntryDraft[] = [];
  const commit = storage.commit.bind(storage);
  const watched: Storage['commit'] = async (write) => {
    const committed = await commit(write);
    entries.push(...write.entries);
    return committed;
  };
  Object.assign(storage, { commit: watched });
  return entries;
}
