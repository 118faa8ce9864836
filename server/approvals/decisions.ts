import type { Caller } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import type { Commands, Outcome, Sealer } from '../commands/commands.ts';
import type { Storage } from '../storage/storage.ts';
import {
  nonceOf,
  requestersOf,
  requireOpen,
  requireWhole,
  saltOf,
  viewApproval,
} from './approval.ts';
import type { ApprovalRow, ApprovalStore, DecisionRow } from './approval-store.ts';
import { isBySelf } from './givings.ts';
import { isActivePerson, type People } from './people.ts';
import { readRequirements } from './requirement.ts';
import type { Sight } from './sight.ts';

export interface DecisionsOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly sealer: Sealer;
  readonly store: ApprovalStore;
  readonly people: People;
  readonly sight: Sight;
}

type Word = 'approve' | 'reject';
type WordCall = Pick<Call<'approval.reject'>, 'caller' | 'params' | 'body' | 'idempotencyKey'> & {
  readonly digest?: string;
};

/** What people say of a request: one word of each, and never of whoever stands behind it. */
export class Decisions {
  readonly #options: DecisionsOptions;

  constructor(options: DecisionsOptions) {
    this.#options = options;
  }

  handlers(
    commands: Commands,
  ): Handlers<'approval.approve' | 'approval.reject' | 'approval.withdraw'> {
    return {
      'approval.approve': (call) =>
        this.#decide(commands, { ...call, digest: call.body.digest }, 'approve'),
      'approval.reject': (call) => this.#decide(commands, call, 'reject'),
      'approval.withdraw': (call) => this.#withdraw(commands, call),
    };
  }

  #decide(commands: Commands, call: WordCall, word: Word) {
    const { caller, digest } = call;
    const id = call.params.approval;
    const reason = call.body.reason ?? null;
    return commands.run(caller, {
      action: 'approval.decide',
      resource: { type: 'principal', id: caller.principalId },
      about: { resource: id, detail: canonicalJson({ decision: word }) },
      input: { approval: id, decision: word, digest, reason },
      idempotencyKey: call.idempotencyKey,
      raisesEpoch: false,
      act: async () => {
        const { clock } = this.#options;
        const row = await this.#options.sight.find(caller, id);
        const roles = await this.#requireMayDecide(caller, row);
        requireOpen(row, clock.now());
        const nonce = nonceOf(saltOf(this.#options.sealer, row));
        requireWhole(row, nonce);
        if (digest !== undefined && digest !== row.digest) throw otherDigest(row);
        return this.#write(row, {
          approval_id: row.id,
          principal_id: caller.principalId,
          credential_id: caller.credentialId,
          decision: word,
          roles_json: canonicalJson([...roles].sort()),
          reason,
          decided_at: clock.now(),
        });
      },
    });
  }

  async #write(
    row: ApprovalRow,
    decision: DecisionRow,
  ): Promise<Outcome<ReturnType<typeof viewApproval>>> {
    const { store, people, sealer, clock } = this.#options;
    const now = clock.now();
    const before = await store.decisions([row.id]);
    if (before.some((one) => one.principal_id === decision.principal_id)) throw saidAlready();
    const decisions = [...before, decision];
    const known = await people.byIds([
      row.principal_id,
      ...decisions.map((one) => one.principal_id),
    ]);
    const isRejected = decision.decision === 'reject';
    const after = isRejected ? { ...row, state: 'rejected', ended_at: now } : row;
    const nonce = nonceOf(saltOf(sealer, row));
    const result = viewApproval({ row: after, decisions, people: known, nonce, now });
    const { digest, requester, state } = result;
    return {
      result,
      steps: [
        ...store.decide(decision, now),
        ...(isRejected ? [store.endAnyhow(row, 'rejected', now)] : []),
      ],
      about: {
        resource: row.id,
        detail: canonicalJson({
          decision: decision.decision,
          ...{
            digest,
            state,
            action: row.action,
            requester: requester.id,
            reason: decision.reason,
          },
          roles: JSON.parse(decision.roles_json) as string[],
        }),
      },
    };
  }

  /** The roles by which the caller's word counts. Error: `forbidden`. */
  async #requireMayDecide(caller: Caller, row: ApprovalRow): Promise<readonly string[]> {
    const { people } = this.#options;
    const self = await people.byId(caller.principalId);
    const { principals } = requestersOf(row);
    const behind = (caller.standing?.principals ?? []).map(({ id }) => id);
    if ([caller.principalId, ...behind].some((id) => principals.includes(id))) {
      throw refused('Nobody approves a request that is its own, or made by a token of its own.');
    }
    if (!isActivePerson(self)) throw refused('Only people approve: services and devices do not.');
    // Whoever made the token could say a second word with it.
    if (!isBySelf(caller, self)) {
      throw refused('This token was made by somebody else: its word is not yours alone.');
    }
    if (!(await people.isPinned(caller))) {
      throw refused(
        'This certificate is known by its name, and its CA could issue another one of that name.',
        'Log in with a code, or have the certificate bound by its key.',
      );
    }
    const wanted = readRequirements(row.requirements_json).flatMap(({ roles }) => roles);
    const held = caller.roles.filter((role) => (wanted as string[]).includes(role));
    if (held.length > 0) return held;
    throw refused(`This takes one of the roles ${[...new Set(wanted)].join(', ')}.`);
  }

  #withdraw(commands: Commands, call: Call<'approval.withdraw'>) {
    const { caller } = call;
    const id = call.params.approval;
    return commands.run(caller, {
      action: 'approval.withdraw',
      resource: { type: 'principal', id: caller.principalId },
      about: { resource: id },
      input: { approval: id },
      idempotencyKey: call.idempotencyKey,
      raisesEpoch: false,
      act: async () => {
        const { store, people, sealer, clock, sight } = this.#options;
        const row = await sight.find(caller, id);
        if (row.principal_id !== caller.principalId) {
          throw refused('Only whoever asked takes a request back.', 'Others reject it.');
        }
        const now = clock.now();
        requireOpen(row, now);
        const decisions = await store.decisions([id]);
        const known = await people.byIds([
          row.principal_id,
          ...decisions.map((one) => one.principal_id),
        ]);
        const after = { ...row, state: 'withdrawn', ended_at: now };
        const nonce = nonceOf(saltOf(sealer, row));
        return {
          result: viewApproval({ row: after, decisions, people: known, nonce, now }),
          steps: [store.endAnyhow(row, 'withdrawn', now)],
          about: { detail: canonicalJson({ action: row.action }) },
        };
      },
    });
  }
}

function otherDigest(row: ApprovalRow): KeyreeveError {
  return new KeyreeveError('approval-mismatch', `This is not the digest of ${row.id}.`, {
    hint: `Look at what will run, then approve that: keyreeve approval show ${row.id}`,
    data: { approval: row.id },
  });
}

function saidAlready(): KeyreeveError {
  return new KeyreeveError('conflict', 'You have given your word on this already.', {
    hint: 'One word of each person counts, with whatever token.',
  });
}

function refused(message: string, hint = 'Ask somebody else to look at it.'): KeyreeveError {
  return new KeyreeveError('forbidden', message, { hint, data: { action: 'approval.decide' } });
}
