import { createHash } from 'node:crypto';
import type { Insertable } from 'kysely';
import type { Action } from '../../api/actions.ts';
import type { EntryDraft, EntryKind } from '../../api/entry.ts';
import type { ErrorCode } from '../../api/error-codes.ts';
import type { Event } from '../../api/events.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { compiledOnce, type Schema, type Step, type Storage } from '../storage/storage.ts';
import type { About, Command, Intend, Intent } from './command.ts';
import { callerEntry } from './entries.ts';
import { Consumption, type First, type Gate } from './gate.ts';
import { Idempotency, type Sealer } from './idempotency.ts';

export type { About, Command, Intend, Intent, Outcome } from './command.ts';
export { callerEntry, serviceEntry } from './entries.ts';
export type { Approved, Gate, GatedCommand } from './gate.ts';
export type { Sealer } from './idempotency.ts';

export {
  everyNodeIsGone,
  type IsOrphan,
  type OrphanedIntent,
  orphanedIntents,
  settleIntent,
  settleStep,
  takeIntent,
} from './orphaned-intents.ts';
export { settleUnfinished } from './settle-unfinished.ts';

export interface CommandsOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly authorise: Authorise;
  /** Steps that fail unless the caller's credential and rights still stand at the commit. */
  readonly stillAllowed: (caller: Caller) => readonly Step[];
  readonly sealer: Sealer;
  /** Throws `clock-unsafe` while time cannot be trusted. */
  readonly requireClock: () => void;
  /** Asked of each command; where left out, none needs the approval of others. */
  readonly gate?: Gate;
}

/**
 * The path of everything that changes something: authorise, ask for the approval of others where
 * rules want it, record the intent where something is left outside the database, act, commit
 * state, outcome and outbox together, answer. A refusal is an entry too.
 */
export class Commands {
  readonly #options: CommandsOptions;
  readonly #idempotency: Idempotency;

  constructor(options: CommandsOptions) {
    this.#options = options;
    this.#idempotency = new Idempotency(options.storage, options.clock, options.sealer);
  }

  /**
   * Runs a command once; the result is plain JSON, and the same idempotency key and input answer the
   * same again, to the same credential: an answer can hold a secret, and another credential of the
   * principal may be narrower.
   */
  async run<Result>(caller: Caller, command: Command<Result>): Promise<Result> {
    const { idempotencyKey } = command;
    if (idempotencyKey === undefined) return this.#attempt(caller, command, () => []);
    const digest = createHash('sha256')
      .update(canonicalJson([command.action, command.input, caller.credentialId]))
      .digest('hex');
    return this.#idempotency.once(caller.principalId, idempotencyKey, digest, (keep) =>
      this.#attempt(caller, command, keep),
    );
  }

  async #attempt<Result>(
    caller: Caller,
    command: Command<Result>,
    keep: (result: unknown) => readonly Step[],
  ): Promise<Result> {
    const { storage } = this.#options;
    const intents: string[] = [];
    const consumption = new Consumption();
    const intend: Intend = async (intent, about = {}, steps = []) => {
      const id = newId('int');
      // Known before it is written: where the outcome of that write is not known, it may be there.
      intents.push(id);
      const first = consumption.take();
      const made = { id, intent, about, steps, first };
      await this.#recordIntent(caller, command, made).catch((error: unknown) => {
        // Refused, it is not there to be settled.
        if (!isKeyreeveError(error, 'outcome-unknown')) intents.splice(intents.indexOf(id), 1);
        throw error;
      });
      consumption.written();
    };
    try {
      // 1. Authorise; then those whose approval the rules want.
      this.#options.authorise(caller, command.action, command.resource);
      this.#options.requireClock();
      consumption.begin(await this.#options.gate?.(caller, command));
      // 2. Record the intent, where something will be left outside the database.
      if (command.intent !== undefined) await intend(command.intent);
      // 3. Act.
      const outcome = await command.act(intend);
      // 4. Commit state, outcome and outbox together; intents are settled by the same write.
      const first = consumption.take();
      const committed = await storage.commit({
        steps: [
          ...this.#options.stillAllowed(caller),
          // First, so that who lost to another node with the same idempotency key is told that.
          ...keep(outcome.result),
          ...first.steps,
          ...outcome.steps,
          ...this.#settled(intents),
        ],
        entries: [
          this.entry(caller, 'outcome', command.action, 'ok', {
            ...command.about,
            ...outcome.about,
            ...lastOf(intents),
          }),
          ...first.entries,
          ...(outcome.entries ?? []),
        ],
        outbox: outcome.outbox ?? [],
        raisesEpoch: command.raisesEpoch ?? true,
      });
      consumption.written();
      caller.settle?.(committed);
      // 5. Answer.
      return outcome.result;
    } catch (error) {
      await this.#refused(caller, command, error, intents);
      throw error;
    }
  }

  /** What has to be found out before there is a command: its refusal is an entry too. */
  async prepare<Result>(
    caller: Caller,
    action: Action,
    work: () => Promise<Result>,
  ): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      await this.#recordRefusal(caller, action, error, {}, []);
      throw error;
    }
  }

  async #recordIntent<Result>(
    caller: Caller,
    command: Command<Result>,
    made: { id: string; intent: Intent; about: About; steps: readonly Step[]; first: First },
  ): Promise<void> {
    const { storage, clock } = this.#options;
    const entry = this.entry(caller, 'intent', command.action, 'ok', {
      ...command.about,
      ...made.about,
      intentId: made.id,
    });
    await storage.commit({
      steps: [
        ...this.#options.stillAllowed(caller),
        ...made.first.steps,
        ...made.steps,
        insertIntent(storage, {
          id: made.id,
          kind: made.intent.kind,
          payload_json: canonicalJson(made.intent.payload),
          entry_id: entry.id,
          created_at: clock.now(),
          node_id: storage.nodeId,
        }),
      ],
      entries: [entry, ...made.first.entries],
    });
  }

  /**
   * Takes back what was done outside and records the refusal, which settles the intent. What may
   * still be written (`outcome-unknown`) stays, and so does what cannot be taken back: the intent
   * is settled at the next start.
   */
  async #refused<Result>(
    caller: Caller,
    command: Command<Result>,
    error: unknown,
    intents: readonly string[],
  ): Promise<void> {
    if (isKeyreeveError(error, 'outcome-unknown')) return;
    const isClean = !isKeyreeveError(error) || !error.leavesBehind;
    const undone = await (command.undo?.() ?? Promise.resolve()).then(
      () => isClean,
      () => false,
    );
    const about = { ...command.about, ...lastOf(intents), ...waitingFor(error) };
    const steps = undone ? this.#settled(intents).map(({ query }) => ({ query })) : [];
    await this.#recordRefusal(caller, command.action, error, about, steps);
  }

  #settled(intents: readonly string[]): Step[] {
    const { storage } = this.#options;
    return intents.map((id) => ({
      query: compiledOnce(storage, 'settle intent', [id, storage.nodeId], () =>
        storage.db
          .deleteFrom('intent')
          .where('id', '=', id)
          .where('node_id', '=', storage.nodeId)
          .compile(),
      ),
      // Another node took this one for dead and settled what it had begun: the act came to nothing.
      expect: {
        rows: 1,
        code: 'conflict',
        message: 'The act took so long that another node has taken it back.',
        hint: 'Repeat the request.',
      },
    }));
  }

  /** A refusal goes on the record, unless the reason is that nothing can be written. */
  async #recordRefusal(
    caller: Caller,
    action: Action,
    error: unknown,
    about: About,
    steps: readonly Step[],
  ): Promise<void> {
    const code: ErrorCode = isKeyreeveError(error) ? error.code : 'internal';
    if (unwritable.includes(code)) return;
    await this.#options.storage
      .commit({ steps, entries: [this.entry(caller, 'outcome', action, code, about)] })
      .catch((cause) => {
        if (isKeyreeveError(cause, 'clock-unsafe')) throw cause;
        throw new KeyreeveError('storage-unavailable', 'The refusal could not be recorded.', {
          cause,
        });
      });
  }

  /** Forgets answers to idempotency keys that are past their time. */
  expired(): Step {
    return this.#idempotency.expired();
  }

  /** An entry by this caller, now. */
  entry(
    caller: Caller,
    kind: EntryKind,
    action: Action | Event,
    outcome: string,
    about: About,
  ): EntryDraft {
    return callerEntry(this.#options.clock, caller, kind, action, outcome, about);
  }
}

function waitingFor(error: unknown): About {
  if (!isKeyreeveError(error, 'approval-pending')) return {};
  return { detail: canonicalJson({ approval: String(error.data.approval) }) };
}

function insertIntent(storage: Storage, row: Insertable<Schema['intent']>): Step {
  return {
    query: compiledOnce(storage, 'insert intent', Object.values(row), () =>
      storage.db.insertInto('intent').values(row).compile(),
    ),
  };
}

function lastOf(intents: readonly string[]): About {
  const intentId = intents.at(-1);
  return intentId === undefined ? {} : { intentId };
}

const unwritable: readonly ErrorCode[] = [
  'clock-unsafe',
  'outcome-unknown',
  'storage-unavailable',
  'storage-full',
];
