import { createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { EntryDraft } from '../../api/entry.ts';
import type { BodyOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import { TestClock } from '../../test/test-clock.ts';
import { entryEncoder } from '../audit/audit.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import { formatTime } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { Commands } from '../commands/commands.ts';
import { StoreKeys } from '../keystores/keystores.ts';
import { openStorage } from '../storage/storage.ts';
import { Dispatcher } from './dispatcher.ts';
import { waitingAlerts } from './queue.ts';
import { createTargetHandlers } from './target-handlers.ts';
import { withAlerts } from './with-alerts.ts';

export { TestClock };

export const installationId = 'ins_aaaaaaaaaaaaaaaaaaaaaaaaaa';

export interface TestAlertsOptions {
  /** PostgreSQL instead of SQLite. */
  readonly databaseUrl?: string;
  readonly queueMax?: number;
  /** That of another node on the same database. */
  readonly storeKey?: Buffer;
  readonly clock?: TestClock;
}

/** Alerts over a real database in a folder of its own. */
export async function openTestAlerts(t: TestContext, options: TestAlertsOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-alerts-'));
  const clock = options.clock ?? new TestClock();
  const storeKey = options.storeKey ?? randomBytes(32);
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const plain = await openStorage({
    ...{ dataFolder: folder, clock, entryEncoder, log },
    ...(options.databaseUrl === undefined ? {} : { databaseUrl: options.databaseUrl }),
  });
  const storage = withAlerts(plain, clock);
  const sealer = new StoreKeys(new Map([['sto_1', createSecretKey(storeKey)]]), 'sto_1');
  const rights: { authorise: Authorise } = { authorise: () => undefined };
  const authorise: Authorise = (...asked) => rights.authorise(...asked);
  const commands = new Commands({
    ...{ storage, clock, authorise, sealer },
    stillAllowed: () => [],
    requireClock: () => undefined,
  });
  const dispatchers: Dispatcher[] = [];
  /** One more node on the same database. */
  const dispatcher = () => {
    const made = new Dispatcher({
      ...{ storage, clock, log, sealer, installationId, random: () => 0.99 },
      ...(options.queueMax === undefined ? {} : { queueMax: options.queueMax }),
    });
    dispatchers.push(made);
    return made;
  };
  t.after(async () => {
    await Promise.all(dispatchers.map((one) => one.stop()));
    await plain.close();
    await rm(folder, { recursive: true, force: true });
  });
  const handlers = createTargetHandlers(
    { storage, clock, sealer, installationId, authorise },
    commands,
  );
  const caller = (): Caller => ({
    ...{ principalId: 'prn_test', principalName: 'ada', roles: ['administrator'] },
    ...{ credentialId: 'tok_test', folders: undefined, address: '127.0.0.1', agent: 'test' },
    ...{ correlationId: 'req_test', epoch: storage.epoch },
  });
  const call = { query: {} as never, idempotencyKey: undefined };
  const add = (
    body: Partial<BodyOf<Routes['alert.add']>> & { kind: 'webhook' | 'slack' | 'syslog' | 'mail' },
  ) =>
    handlers['alert.add']({
      ...{ ...call, caller: caller(), params: {} as never },
      body: { name: 'target', allowPlainHttp: false, severity: 'debug', ...body },
    });
  return {
    ...{
      folder,
      clock,
      storeKey,
      plain,
      storage,
      sealer,
      rights,
      commands,
      handlers,
      caller,
      call,
      add,
    },
    dispatcher,
    /** An entry that is an alert: `key-suspended`, about a key of this name. */
    happen: (keyName: string) =>
      storage.commit({ steps: [], entries: [suspended(clock, keyName)] }),
    /** What lies in the outbox under a topic. */
    waiting: async (topic: string) =>
      (await waitingAlerts(storage, topic, 1_000_000)).map((row) => JSON.parse(row.payload)),
    update: (target: string, body: BodyOf<Routes['alert.update']>) =>
      handlers['alert.update']({ ...call, caller: caller(), params: { target }, body }),
    remove: (target: string) =>
      handlers['alert.remove']({
        ...{ ...call, caller: caller(), params: { target } },
        body: undefined as never,
      }),
    test: (target: string) =>
      handlers['alert.test']({ ...call, caller: caller(), params: { target }, body: {} }),
    show: (target: string) =>
      handlers['alert.show']({
        ...{ ...call, caller: caller(), params: { target } },
        body: undefined as never,
      }),
  };
}
export type TestAlerts = Awaited<ReturnType<typeof openTestAlerts>>;

export function draftEntry(clock: TestClock, fields: Partial<EntryDraft>): EntryDraft {
  return {
    ...{ id: newId('ent'), time: formatTime(clock.now()), kind: 'outcome' },
    ...{ action: 'key.state', outcome: 'ok', principalId: 'prn_test', principalName: 'ada' },
    ...fields,
  } as EntryDraft;
}

export function suspended(clock: TestClock, keyName: string): EntryDraft {
  const detail = JSON.stringify({ from: 'active', to: 'suspended', reason: null });
  return draftEntry(clock, { keyName, keyVersion: '1', detail });
}
