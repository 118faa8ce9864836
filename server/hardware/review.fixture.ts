import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pino from 'pino';
import type { RoleName } from '../../api/roles.ts';
import type { ResponseOf } from '../../api/route.ts';
import { keystoreRoutes } from '../../api/routes/keystores.ts';
import type { Routes } from '../../api/routes.ts';
import { startSoftHsm, type TestSoftHsm } from '../../test/softhsm.ts';
import { createAccess } from '../access/access.ts';
import { createDestruction } from '../keys/keys.ts';
import { openTestAuthorities } from '../pki/authorities/testing.ts';
import { openHardware } from './hardware.ts';

type Route = keyof typeof keystoreRoutes;
interface TestCall {
  readonly params?: object;
  readonly body?: object;
}

/**
 * Keys and CAs over a database with keystores that are added by command, and a clock that tests move.
 * Undefined where SoftHSM2 is not here: the test is skipped by name then.
 */
export async function openReviews(t: TestContext) {
  const hsm = startSoftHsm(t);
  if (hsm === undefined) return undefined;
  const keys = await openTestAuthorities({});
  const { storage, keystores, clock, commands, folder } = keys;
  const log = pino({ level: 'silent' });
  const places = { folders: ['/usr/lib', '/usr/lib64', '/usr/local/lib'], ownFolders: [folder] };
  const hardware = await openHardware({ storage, keystores, clock, log, places });
  t.after(async () => {
    await hardware.stop();
    await keys.close();
    hsm.remove();
  });
  const access = createAccess({
    ...{ storage, clock, log, caFingerprint: () => '' },
    loginCodeFile: join(folder, 'login-code.json'),
  });
  const handlers = hardware.handlers(
    (...asked) => keys.rights.authorise(...asked),
    commands,
    access,
  );
  const keystore = <Id extends Route>(
    id: Id,
    { params = {}, body = {} }: TestCall,
  ): Promise<ResponseOf<Routes[Id]>> => {
    const schema = (keystoreRoutes[id] as { body?: { parse(value: unknown): unknown } }).body;
    return (handlers[id] as unknown as (call: object) => Promise<ResponseOf<Routes[Id]>>)({
      ...{ caller: keys.caller(), params, query: {}, idempotencyKey: undefined },
      body: schema?.parse(body),
    });
  };
  const add = (name: string, body: object = {}, token: TestSoftHsm = hsm) =>
    keystore('keystore.add', { body: { name, uri: token.uri, ...body } });
  const params = (name: string) => ({ params: { keystore: name } });
  const review = async (name: string, note?: string) => {
    const { digest } = await keystore('keystore.access', params(name));
    const body = { digest, ...(note === undefined ? {} : { note }) };
    return keystore('keystore.review', { ...params(name), body });
  };
  const reviewEvery = (name: string, reviewEveryDays: number | null) =>
    keystore('keystore.update', { ...params(name), body: { reviewEveryDays } });
  const show = (name: string) => keystore('keystore.show', params(name));
  const remove = (name: string) => keystore('keystore.remove', params(name));
  const makeKey = (name: string, place: string, policy: object = {}) =>
    keys.create({ name, algorithm: 'p-256', purpose: 'sign', keystore: place, policy });
  const destruction = createDestruction({
    ...{ keys: keys.keys, clock, bury: async () => undefined, isClockUnsafe: () => false },
  });
  const addPrincipal = (name: string, roles: readonly RoleName[]) =>
    storage.commit({
      steps: [
        {
          query: storage.db
            .insertInto('principal')
            .values({
              ...{ id: `prn_${name}`, name, kind: 'person', state: 'active' },
              roles_json: JSON.stringify(roles),
              ...{ created_at: clock.now(), created_by: 'system', revision: 1 },
            })
            .compile(),
        },
      ],
      entries: [],
    });
  return {
    ...keys,
    ...{ hsm, keystore, add, review, reviewEvery, show, remove, makeKey, destruction },
    addPrincipal,
  };
}
