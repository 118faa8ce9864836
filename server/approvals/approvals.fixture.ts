/** What the tests of approvals share: people, keys and rules over a real database. */

import { createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EntryDraft } from '../../api/entry.ts';
import type { ResponseOf, RouteDefinition } from '../../api/route.ts';
import type { ApprovalRule, ApprovalView } from '../../api/routes/approvals.ts';
import { type RouteId, type Routes, routes } from '../../api/routes.ts';
import { TestClock } from '../../test/test-clock.ts';
import { createAccess, createLoginCode } from '../access/access.ts';
import { ApprovalPendingError } from '../base/approval-pending.ts';
import type { Caller, CommandRequest } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import { Commands } from '../commands/commands.ts';
import { createKeyHandlers, Keys } from '../keys/keys.ts';
import {
  createFileKeystore,
  createWrappedKeystore,
  Keystores,
  StoreKeys,
} from '../keystores/keystores.ts';
import { openStorage, type Storage, type Write } from '../storage/storage.ts';
import { createApprovals } from './approvals.ts';

export { TestClock };

export type Ask = Partial<Pick<CommandRequest, 'approvalId' | 'breakGlass'>> & {
  readonly params?: object;
  readonly query?: object;
  readonly body?: object;
  readonly idempotencyKey?: string;
  /** Another command of the same request. */
  readonly request?: CommandRequest;
};

export type World = Awaited<ReturnType<typeof openWorld>>;

/** Everything that approvals touch, in a temporary folder; on PostgreSQL where a URL is given. */
export async function openWorld(
  options: { databaseUrl?: string; intercept?: (write: Write) => Promise<void> } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-approvals-'));
  const clock = new TestClock();
  const log = { info() {}, warn() {}, error() {} };
  const opened = await openStorage({
    dataFolder: folder,
    clock,
    log,
    entryEncoder: new URL('../../test/plain-encoder.ts', import.meta.url),
    ...(options.databaseUrl === undefined ? {} : { databaseUrl: options.databaseUrl }),
  });
  const storage: Storage =
    options.intercept === undefined
      ? opened
      : new Proxy(opened, {
          get(target, name) {
            if (name !== 'commit') {
              const value: unknown = Reflect.get(target, name, target);
              return typeof value === 'function' ? value.bind(target) : value;
            }
            return async (write: Write) => {
              await options.intercept!(write);
              return target.commit(write);
            };
          },
        });
  const sealer = new StoreKeys(new Map([['sto_1', createSecretKey(randomBytes(32))]]), 'sto_1');
  const loginCodeFile = join(folder, 'login-code.json');
  const caFingerprint = 'ab'.repeat(32);
  const access = createAccess({
    ...{ storage, clock, loginCodeFile, log },
    caFingerprint: () => caFingerprint,
  });
  await access.ready();
  const { authorise } = access;
  const approvals = createApprovals({ storage, clock, sealer, authorise });
  const commands = new Commands({
    ...{ storage, clock, authorise, sealer },
    stillAllowed: (caller) => access.stillAllowed(caller),
    requireClock: () => undefined,
    gate: approvals.gate,
  });
  const keystores = new Keystores([
    createWrappedKeystore(sealer),
    createFileKeystore({ folder: join(folder, 'files') }),
  ]);
  const keys = new Keys({
    ...{ storage, keystores, clock, authorise, sealer },
    principalId: (reference) => access.principalId(reference),
  });
  const handlers = {
    ...createKeyHandlers(keys, commands),
    ...access.handlers(commands),
    ...approvals.handlers(commands),
  } as unknown as Record<string, (call: object) => Promise<unknown>>;

  const login = async (code: string) => {
    const visitor = { address: '192.0.2.7', agent: 'test', correlationId: 'req-1' };
    const body = { code };
    const answer = await handlers.login!({ visitor, params: {}, query: {}, body });
    return (answer as { token: string }).token;
  };
  const caller = (token: string) =>
    access.authenticate({
      ...{ address: '192.0.2.7', agent: 'test', correlationId: 'req-1' },
      bearer: token,
    });
  /** Calls a route as HTTP does. */
  const ask = async <Id extends RouteId>(by: Caller, id: Id, parts: Ask = {}) => {
    const route: RouteDefinition = routes[id];
    const { idempotencyKey, approvalId, breakGlass } = parts;
    const params = route.params?.parse(parts.params ?? {}) ?? {};
    const body = route.body?.parse(parts.body ?? {});
    const query = route.query?.parse(parts.query ?? {}) ?? {};
    const request = parts.request ?? { route: id, params, body, approvalId, breakGlass };
    const answer = await handlers[id]!({
      ...{ caller: { ...by, request }, params, query, body, idempotencyKey },
    });
    return answer as ResponseOf<Routes[Id]>;
  };
  const administrator = async () =>
    caller(await login(createLoginCode({ file: loginCodeFile, caFingerprint, clock })));
  const person = async (by: Caller, name: string, roles: string[], kind = 'person') => {
    await ask(by, 'principal.create', { body: { name, kind, roles } });
    const { code } = await ask(by, 'principal.enrol', { params: { principal: name } });
    return caller(await login(code));
  };
  return {
    ...{ folder, clock, storage, access, approvals, commands, keys, handlers },
    ...{ login, caller, ask, administrator, person },
    token: async (by: Caller, body: object = {}) =>
      (await ask(by, 'token.create', { body: { ttlSeconds: 3600, ...body } })).token,
    rules: (by: Caller, rules: readonly Partial<ApprovalRule>[], more: Ask = {}) =>
      ask(by, 'approval.rules.apply', { ...more, body: { rules } }),
    approve: (by: Caller, view: Pick<ApprovalView, 'id' | 'digest'>) =>
      ask(by, 'approval.approve', { params: { approval: view.id }, body: { digest: view.digest } }),
    entries: async (): Promise<EntryDraft[]> => {
      const rows = await storage.db
        .selectFrom('entry_tail')
        .select('opening')
        .orderBy('id')
        .execute();
      return rows.map(({ opening }) => JSON.parse(Buffer.from(opening).toString('utf8')));
    },
    close: async () => {
      await opened.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The approval that a request waits for; fails where it does not wait. */
export async function pending(request: Promise<unknown>): Promise<ApprovalView> {
  try {
    await request;
  } catch (error) {
    if (error instanceof ApprovalPendingError) return error.approval;
    throw error;
  }
  throw new Error('the command ran without an approval');
}

/** For `assert.rejects`: an error of ours with this code and this text. */
export function refusal(code: string, text: RegExp = /./): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof KeyreeveError)) throw error;
    if (error.code === code && text.test(error.message)) return true;
    throw new Error(`expected ${code} ${text}, got ${error.code}: ${error.message}`);
  };
}

/** Destroying a key in `prod` takes one security reviewer. */
export const destroyRule = {
  name: 'destroy',
  actions: ['key.destroy'],
  folders: ['prod'],
  approvals: 1,
  roles: ['security-reviewer'],
} as const satisfies Partial<ApprovalRule> as unknown as Partial<ApprovalRule>;

/** An administrator, two security reviewers and a key in `prod`; the rules in force. */
export async function openStaffed(
  rules: readonly Partial<ApprovalRule>[] = [destroyRule],
  options: Parameters<typeof openWorld>[0] = {},
) {
  const world = await openWorld(options);
  const ada = await world.administrator();
  const rex = await world.person(ada, 'rex', ['security-reviewer']);
  const rita = await world.person(ada, 'rita', ['security-reviewer']);
  await world.ask(ada, 'key.create', {
    body: { name: 'prod/key', algorithm: 'p-256', purpose: 'sign' },
  });
  if (rules.length > 0) await world.rules(ada, rules);
  const destroy = (by: Caller, more: Ask = {}) =>
    world.ask(by, 'key.destroy', { params: { key: 'prod/key' }, ...more });
  return { ...world, ada, rex, rita, destroy };
}
