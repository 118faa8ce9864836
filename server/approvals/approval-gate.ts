import { randomBytes } from 'node:crypto';
import type { ApprovalKind } from '../../api/approvals.ts';
import { ApprovalPendingError } from '../base/approval-pending.ts';
import type { Authorise, Caller, CommandRequest } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import {
  type Approved,
  callerEntry,
  type Gate,
  type GatedCommand,
  type Sealer,
} from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';
import {
  digestOf,
  isAsStrong,
  nonceOf,
  progressOf,
  requestersOf,
  requireOpen,
  requireWhole,
  saltBytes,
  saltOf,
  sealSalt,
  viewApproval,
} from './approval.ts';
import type { ApprovalRow, ApprovalStore, DecisionRow } from './approval-store.ts';
import { type CommandFacts, canonicalCommand, factsOf } from './canonical-command.ts';
import { canWait, demandsOn, emergencyDemands } from './demands.ts';
import { policyPossible, stillPossible } from './givings.ts';
import type { People, Person } from './people.ts';
import { type Demand, readRequirements, writeRequirements } from './requirement.ts';
import type { RulesInForce } from './rules-in-force.ts';
import { unchangedKeys } from './unchanged-keys.ts';

/** Requests of one principal that wait at the same time. */
export const openApprovalsMax = 50;

export interface GateOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly sealer: Sealer;
  readonly store: ApprovalStore;
  readonly rules: RulesInForce;
  readonly people: People;
  readonly authorise: Authorise;
}

/** One command on its way through the gate. */
interface Passage {
  readonly caller: Caller;
  readonly request: CommandRequest;
  readonly facts: CommandFacts;
  readonly demands: readonly Demand[];
  /** What has to be met, as it is stored. */
  readonly requirements: string;
  readonly kind: ApprovalKind;
  readonly reason: string | null;
  /** Nobody of these approves. */
  readonly behind: readonly string[];
  readonly rulesVersion: number;
  /** What every commit of the command has to check. */
  readonly held: readonly Step[];
  /** What else the first commit has to check. */
  readonly steps: readonly Step[];
}

/** An approval that a request has used up: it covers what else the same request does. */
interface Used {
  readonly row: ApprovalRow;
  readonly decisions: readonly DecisionRow[];
}

/** Holds commands until those have agreed whom the rules name. */
export class ApprovalGate {
  readonly #options: GateOptions;
  /** Forgotten with the request itself. */
  readonly #used = new WeakMap<CommandRequest, Used>();

  constructor(options: GateOptions) {
    this.#options = options;
  }

  readonly pass: Gate = async (caller, command) => {
    const { rules, people, authorise } = this.#options;
    if (!canWait(command)) return undefined;
    const { version } = await rules.current();
    const steps = [
      ...(await stillPossible(people, () => rules.everyDemand(), caller, command)),
      ...(await policyPossible(people, authorise, caller)),
    ];
    const demands = await demandsOn(rules, people, caller, command);
    // By rules that are in force at the commit: another node may have put others in force.
    if (demands.length === 0) return unasked([...steps, rules.unchanged(version)]);
    const { request } = caller;
    if (request === undefined) throw noWayToAsk(command, demands);
    const named = await this.#named(caller, request);
    const passage = await this.#passage({ caller, request, command, demands, named, steps });
    const used = this.#used.get(request);
    if (used !== undefined && (await this.#covers(used, passage))) {
      return unasked(steps);
    }
    try {
      return await this.#run(passage, named);
    } catch (error) {
      // Asked for twice at once: the other one made the approval.
      if (!isKeyreeveError(error, 'conflict')) throw error;
      return this.#run(passage, named);
    }
  };

  async #passage(parts: {
    caller: Caller;
    request: CommandRequest;
    command: GatedCommand;
    demands: readonly Demand[];
    named: ApprovalRow | undefined;
    steps: readonly Step[];
  }): Promise<Passage> {
    const { caller, request, command, named, steps } = parts;
    const { storage, people, rules } = this.#options;
    const isEmergency = named?.kind === 'break-glass' || request.breakGlass !== undefined;
    const demands = isEmergency
      ? await emergencyDemands(people, caller, parts.demands)
      : parts.demands;
    return {
      ...{ caller, request, demands, steps },
      held: unchangedKeys(storage, command),
      facts: await factsOf(people, command, request),
      requirements: writeRequirements(demands),
      kind: isEmergency ? 'break-glass' : 'ordinary',
      reason: named?.reason ?? request.breakGlass ?? null,
      behind: await people.behind(caller),
      rulesVersion: (await rules.current()).version,
    };
  }

  async #run(passage: Passage, named: ApprovalRow | undefined): Promise<Approved> {
    const open = await this.#options.store.openOf(passage.caller.principalId);
    const row = named ?? open.find((one) => this.#fits(one, passage));
    if (row !== undefined) {
      if (named !== undefined) this.#requireFit(row, passage);
      if (row.requirements_json === passage.requirements) return this.#execute(row, passage);
    }
    return this.#ask(passage, open, row);
  }

  /** The approval that the caller means. Others' are not found. */
  async #named(caller: Caller, { approvalId }: CommandRequest): Promise<ApprovalRow | undefined> {
    if (approvalId === undefined) return undefined;
    const row = await this.#options.store.byId(approvalId);
    if (row !== undefined && row.principal_id === caller.principalId) return row;
    throw new KeyreeveError('not-found', `You have no approval "${approvalId}".`, {
      hint: 'List them: keyreeve approval list',
    });
  }

  #fits(row: ApprovalRow, passage: Passage): boolean {
    return (
      row.expires_at > this.#options.clock.now() &&
      row.kind === passage.kind &&
      row.reason === passage.reason &&
      this.#isSameCommand(row, passage) &&
      isAsStrong(passage.caller, requestersOf(row))
    );
  }

  #requireFit(row: ApprovalRow, passage: Passage): void {
    requireOpen(row, this.#options.clock.now());
    if (!this.#isSameCommand(row, passage)) {
      throw new KeyreeveError('approval-mismatch', `${row.id} is for another command.`, {
        hint: `Compare it: keyreeve approval show ${row.id}. What has changed since needs an approval of its own.`,
        data: { approval: row.id },
      });
    }
    if (isAsStrong(passage.caller, requestersOf(row))) return;
    throw new KeyreeveError('forbidden', `${row.id} was asked for with more rights than these.`, {
      hint: 'Repeat the request with the token that asked, or one with all its roles and folders.',
    });
  }

  #isSameCommand(row: ApprovalRow, { facts }: Passage): boolean {
    if (row.action !== facts.command.action) return false;
    return row.command_json === canonicalCommand(facts, saltOf(this.#options.sealer, row));
  }

  /** Runs what was agreed to, or says who is missing. */
  async #execute(row: ApprovalRow, passage: Passage): Promise<Approved> {
    const { sealer, store, people, rules, clock } = this.#options;
    requireWhole(row, nonceOf(saltOf(sealer, row)));
    const decisions = await store.decisions([row.id]);
    const known = await people.byIds([
      row.principal_id,
      ...decisions.map((one) => one.principal_id),
    ]);
    const behind = [...passage.behind, ...requestersOf(row).principals];
    const progress = progressOf(readRequirements(passage.requirements), decisions, known, behind);
    if (!progress.isMet) throw this.#pending(row, decisions, known);
    return {
      // Once, whoever else tries; and nobody who counts has lost a role since we looked.
      steps: [
        ...passage.steps,
        store.end(row, 'executed', clock.now()),
        ...progress.counted.map((person) => people.unchanged(person)),
        rules.unchanged(passage.rulesVersion),
      ],
      entries: [this.#entry(passage, row, 'execute', { by: progress.counted.map(({ id }) => id) })],
      held: passage.held,
      settled: () => {
        this.#used.set(passage.request, { row, decisions });
      },
    };
  }

  /** Whether the words of an approval that this request has used up meet this command's demands, too. */
  async #covers({ row, decisions }: Used, passage: Passage): Promise<boolean> {
    const known = await this.#options.people.byIds(decisions.map((one) => one.principal_id));
    const behind = [...passage.behind, ...requestersOf(row).principals];
    return progressOf(readRequirements(passage.requirements), decisions, known, behind).isMet;
  }

  /** Writes down what others have to agree to; `outdated` was for other demands and ends. */
  async #ask(
    passage: Passage,
    open: readonly ApprovalRow[],
    outdated: ApprovalRow | undefined,
  ): Promise<never> {
    const { storage, store, people, rules, clock } = this.#options;
    if (open.length >= openApprovalsMax) throw tooMany();
    const possible: Step[] = [];
    for (const demand of passage.demands) {
      possible.push(...(await people.requirePossible(demand, passage.behind)));
    }
    const row = this.#newRow(passage);
    const voided = outdated === undefined ? [] : [store.endAnyhow(outdated, 'void', clock.now())];
    await storage.commit({
      steps: [
        ...possible,
        rules.unchanged(passage.rulesVersion),
        ...voided,
        ...store.insert(row, open.length - voided.length),
      ],
      entries: [
        ...(outdated === undefined ? [] : [this.#entry(passage, outdated, 'void', {})]),
        this.#entry(passage, row, 'request', {
          action: row.action,
          digest: row.digest,
          requirements: row.requirements_json,
        }),
      ],
    });
    throw this.#pending(row, [], await people.byIds([row.principal_id]));
  }

  #newRow(passage: Passage): ApprovalRow {
    const { clock, sealer } = this.#options;
    const { caller, facts, demands, kind, reason } = passage;
    const salt = randomBytes(saltBytes);
    const id = newId('apr');
    const now = clock.now();
    const ttlSeconds = Math.min(...demands.map((demand) => demand.ttlSeconds));
    const row = {
      id,
      state: 'pending',
      kind,
      action: facts.command.action,
      principal_id: caller.principalId,
      credential_id: caller.credentialId,
      requesters_json: canonicalJson({
        principals: [...passage.behind],
        roles: [...caller.roles].sort(),
        folders: caller.folders ?? null,
        address: caller.address,
      }),
      command_json: canonicalCommand(facts, salt),
      salt: sealSalt(sealer, id, salt),
      requirements_json: passage.requirements,
      reason,
      created_at: now,
      expires_at: now + ttlSeconds * 1000,
      ended_at: null,
      revision: 1,
    };
    return { ...row, digest: digestOf(row, nonceOf(salt)) };
  }

  #pending(
    row: ApprovalRow,
    decisions: readonly DecisionRow[],
    people: ReadonlyMap<string, Person>,
  ): ApprovalPendingError {
    const nonce = nonceOf(saltOf(this.#options.sealer, row));
    const now = this.#options.clock.now();
    return new ApprovalPendingError(viewApproval({ row, decisions, people, nonce, now }));
  }

  /** What happens to an approval; break-glass says so louder, each time. */
  #entry(
    { caller }: Passage,
    row: ApprovalRow,
    what: 'request' | 'execute' | 'void',
    detail: { readonly [name: string]: string | readonly string[] },
  ) {
    const isEmergency = row.kind === 'break-glass' && what !== 'void';
    const action = isEmergency ? 'approval.break-glass' : (`approval.${what}` as const);
    const more = isEmergency ? { stage: what, reason: row.reason } : {};
    return callerEntry(this.#options.clock, caller, 'event', action, 'ok', {
      resource: row.id,
      detail: canonicalJson({ ...detail, ...more, command: row.action }),
    });
  }
}

function unasked(steps: readonly Step[]): Approved {
  return { steps, entries: [], held: [], settled: () => undefined };
}

function noWayToAsk({ action }: GatedCommand, demands: readonly Demand[]): KeyreeveError {
  return new KeyreeveError(
    'forbidden',
    `${action} needs the approval of others (${demands[0]!.rule}), which cannot be asked for here.`,
    { hint: 'Use the native API or the command keyreeve.', data: { action } },
  );
}

function tooMany(): KeyreeveError {
  return new KeyreeveError(
    'conflict',
    `${openApprovalsMax} requests of yours are waiting already.`,
    {
      hint: 'Withdraw those that are not needed: keyreeve approval withdraw ID',
    },
  );
}
