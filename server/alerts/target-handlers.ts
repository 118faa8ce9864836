import { type Alert, alertKinds } from '../../api/alerts.ts';
import type { alertRoutes } from '../../api/routes/alerts.ts';
import type { Authorise } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import { newId } from '../base/ids.ts';
import { type Commands, callerEntry, type Sealer } from '../commands/commands.ts';
import type { Storage } from '../storage/storage.ts';
import { countWaiting, dropQueueStep, hurryStep, queueOf } from './queue.ts';
import { reasonOf } from './sender.ts';
import { createSender } from './senders.ts';
import { type Target, type TargetSettings, viewTarget } from './target.ts';
import { changedSettings, newSettings } from './target-rules.ts';
import {
  deleteTarget,
  deliveredStep,
  findTarget,
  insertTarget,
  readTargets,
  secretLabel,
  updateTarget,
} from './target-store.ts';

export interface TargetHandlersOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly sealer: Sealer;
  readonly installationId: string;
  readonly authorise: Authorise;
}

type Body = Call<'alert.add'>['body'] | Call<'alert.update'>['body'];

const system = { type: 'system' } as const;
/** Each is a connection, a queue, and a step of every alert. */
export const targetsMax = 50;
const testSeconds = 30;

/** The routes of alerts. */
export function createTargetHandlers(
  options: TargetHandlersOptions,
  commands: Commands,
): Handlers<keyof typeof alertRoutes> {
  const { storage, authorise } = options;
  return {
    'alert.list': async ({ caller }) => {
      authorise(caller, 'alert.show', system);
      const targets = await readTargets(storage);
      return { items: await Promise.all(targets.map((target) => view(storage, target))) };
    },
    'alert.show': async ({ caller, params }) => {
      authorise(caller, 'alert.show', system);
      return view(storage, await require(storage, params.target));
    },
    'alert.add': (call) => add(options, commands, call),
    'alert.update': (call) => update(options, commands, call),
    'alert.remove': (call) => remove(options, commands, call),
    'alert.test': (call) => test(options, commands, call),
  };
}

function add(options: TargetHandlersOptions, commands: Commands, call: Call<'alert.add'>) {
  const { storage, clock, sealer } = options;
  const { caller, body, idempotencyKey } = call;
  return commands.run(caller, {
    ...{ action: 'alert.add', resource: system, about: { resource: body.name } },
    ...{ input: withoutSecret(body), idempotencyKey },
    act: async () => {
      const settings = newSettings(body.kind, body);
      if ((await readTargets(storage)).length >= targetsMax) {
        throw new KeyreeveError('conflict', `There are ${targetsMax} targets of alerts already.`, {
          hint: 'Remove one that is not needed: keyreeve alert remove NAME',
        });
      }
      const id = newId('alt');
      const target: Target = {
        ...{ id, name: body.name, kind: body.kind, settings },
        secret: body.secret === undefined ? null : seal(sealer, id, body.secret),
        ...{ createdAt: clock.now(), createdBy: caller.principalId },
        ...{ deliveredAt: null, failedAt: null, reason: null, revision: 1 },
      };
      return {
        result: viewTarget(target, 0),
        steps: [insertTarget(storage, target)],
        about: { detail: describe(target, body.secret !== undefined) },
      };
    },
  });
}

function update(options: TargetHandlersOptions, commands: Commands, call: Call<'alert.update'>) {
  const { storage, sealer } = options;
  const { caller, params, body, idempotencyKey } = call;
  return commands.run(caller, {
    ...{ action: 'alert.update', resource: system, about: { resource: params.target } },
    ...{ input: { target: params.target, ...withoutSecret(body) }, idempotencyKey },
    act: async () => {
      const target = await require(storage, params.target);
      const settings = changedSettings(target, body);
      const secret =
        body.secret === undefined ? target.secret : seal(sealer, target.id, body.secret);
      const after: Target = { ...target, settings, secret, revision: target.revision + 1 };
      return {
        result: await view(storage, after),
        // Whoever put it right wants it tried now.
        steps: [updateTarget(storage, target, after), hurryStep(storage, target.id, options.clock)],
        about: { resource: target.name, detail: describe(after, body.secret !== undefined) },
      };
    },
  });
}

function remove(options: TargetHandlersOptions, commands: Commands, call: Call<'alert.remove'>) {
  const { storage } = options;
  const { caller, params, idempotencyKey } = call;
  return commands.run(caller, {
    ...{ action: 'alert.remove', resource: system, about: { resource: params.target } },
    ...{ input: { remove: params.target }, idempotencyKey },
    act: async () => {
      const target = await require(storage, params.target);
      const dropped = await waitingFor(storage, target);
      return {
        result: { removed: target.name, dropped },
        // The target first: nothing is put into its queue from then on.
        steps: [deleteTarget(storage, target), dropQueueStep(storage, target.id)],
        about: { resource: target.name, detail: canonicalJson({ dropped }) },
      };
    },
  });
}

function test(options: TargetHandlersOptions, commands: Commands, call: Call<'alert.test'>) {
  const { storage, clock } = options;
  const { caller, params, idempotencyKey } = call;
  return commands.run(caller, {
    ...{ action: 'alert.test', resource: system, about: { resource: params.target } },
    ...{ input: { test: params.target }, idempotencyKey, raisesEpoch: false },
    act: async () => {
      const target = await require(storage, params.target);
      const entry = callerEntry(clock, caller, 'event', 'alert.tested', 'ok', {
        resource: target.name,
      });
      const alert: Alert = {
        ...{ id: entry.id, time: entry.time, kind: 'test', ...alertKinds.test },
        ...{ action: 'alert.tested', outcome: 'ok', installation: options.installationId },
        ...{ principalId: caller.principalId, principalName: caller.principalName },
        ...{ resource: target.name, correlationId: caller.correlationId },
      };
      const started = clock.monotonic();
      const { delivered, reason } = await trySend(options, target, alert);
      const milliseconds = Math.round(clock.monotonic() - started);
      const detail = canonicalJson({ delivered, reason });
      return {
        result: { delivered, alert: alert.id, milliseconds, reason },
        // It answers: what waits need wait no longer.
        steps: delivered
          ? [
              deliveredStep(storage, target.id, clock.now(), reason ?? undefined),
              ...(target.failedAt === null ? [] : [hurryStep(storage, target.id, clock)]),
            ]
          : [],
        about: { resource: target.name, detail },
        entries: [{ ...entry, outcome: delivered ? 'ok' : 'unreachable', detail }],
      };
    },
  });
}

async function trySend(
  { sealer, clock }: TargetHandlersOptions,
  target: Target,
  alert: Alert,
): Promise<{ readonly delivered: boolean; readonly reason: string | null }> {
  const sender = createSender(target, sealer, clock);
  try {
    const remark = await sender.send([alert], AbortSignal.timeout(testSeconds * 1000));
    return { delivered: true, reason: remark ?? null };
  } catch (error) {
    return { delivered: false, reason: reasonOf(error) };
  } finally {
    sender.close();
  }
}

async function require(storage: Storage, reference: string): Promise<Target> {
  const target = await findTarget(storage, reference);
  if (target !== undefined) return target;
  throw new KeyreeveError('not-found', `There is no target "${reference}" of alerts.`, {
    hint: 'List them: keyreeve alert list',
  });
}

async function view(storage: Storage, target: Target) {
  return viewTarget(target, await waitingFor(storage, target));
}

async function waitingFor(storage: Storage, { id }: Target): Promise<number> {
  const topic = queueOf(id);
  return (await countWaiting(storage, [topic])).get(topic) ?? 0;
}

function seal(sealer: Sealer, id: string, secret: string): Uint8Array {
  return sealer.seal(secretLabel(id), Buffer.from(secret, 'utf8'));
}

/** The request as it is hashed and kept: that there was a secret, and not which. */
function withoutSecret(body: Body) {
  const given = Object.entries(body).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    given.map(([name, value]) => [name, name === 'secret' ? 'given' : value]),
  );
}

function describe({ kind, settings }: Target, isSecretNew: boolean): string {
  const { address, from, to, severity, kinds, allowPlainHttp }: TargetSettings = settings;
  return canonicalJson({
    ...{ kind, address, from, to: to === null ? null : [...to], severity, allowPlainHttp },
    kinds: kinds === null ? null : [...kinds],
    ...{ ownCa: settings.ca !== null, newSecret: isSecretNew },
  });
}
