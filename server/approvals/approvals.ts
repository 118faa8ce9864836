/** Dual control: commands that run when others have agreed to them. */
import type { approvalRoutes } from '../../api/routes/approvals.ts';
import type { Authorise } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import { type Commands, type Gate, type Sealer, serviceEntry } from '../commands/commands.ts';
import type { Storage } from '../storage/storage.ts';
import { ApprovalGate } from './approval-gate.ts';
import { ApprovalStore } from './approval-store.ts';
import { Decisions } from './decisions.ts';
import { People } from './people.ts';
import { ruleHandlers } from './rule-handlers.ts';
import { RulesInForce } from './rules-in-force.ts';
import { Sight } from './sight.ts';

/** Expired approvals that one round marks. */
export const expiredPerRound = 500;

export type ApprovalRouteId = keyof typeof approvalRoutes;

export interface ApprovalsOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly sealer: Sealer;
  readonly authorise: Authorise;
}

export interface Approvals {
  /** What commands are held by. */
  readonly gate: Gate;
  handlers(commands: Commands): Handlers<ApprovalRouteId>;
  /** Marks what has expired, each with an entry: for the scheduler. */
  expire(): Promise<void>;
  status(): Promise<ApprovalStatus>;
}

export interface ApprovalStatus {
  /** Version of the rules in force; 0 where there are none. */
  readonly rulesVersion: number;
  /** Requests that wait, those of break-glass included. */
  readonly open: number;
  readonly breakGlass: number;
}

/** Wires the parts of approvals together. Commands need the gate, and its handlers need commands. */
export function createApprovals(options: ApprovalsOptions): Approvals {
  const { storage, clock, sealer, authorise } = options;
  const store = new ApprovalStore(storage);
  const rules = new RulesInForce(storage);
  const people = new People(storage);
  const sight = new Sight({ clock, sealer, store, people, authorise });
  const gate = new ApprovalGate({ storage, clock, sealer, store, rules, people, authorise });
  const decisions = new Decisions({ storage, clock, sealer, store, people, sight });
  return {
    gate: gate.pass,
    handlers: (commands) => ({
      ...sight.handlers(),
      ...decisions.handlers(commands),
      ...ruleHandlers({ storage, clock, rules, people, sight }, commands),
    }),
    expire: () => expire(storage, clock, store),
    status: async () => {
      const { ordinary, breakGlass } = await store.countOpen(clock.now());
      const { version } = await rules.current();
      return { rulesVersion: version, open: ordinary + breakGlass, breakGlass };
    },
  };
}

async function expire(storage: Storage, clock: Clock, store: ApprovalStore): Promise<void> {
  const now = clock.now();
  const rows = await store.expiredBefore(now, expiredPerRound);
  if (rows.length === 0) return;
  await storage.commit({
    steps: rows.map((row) => store.endAnyhow(row, 'expired', now)),
    entries: rows.map((row) =>
      serviceEntry(clock, 'approval.expire', 'ok', {
        resource: row.id,
        detail: canonicalJson({ command: row.action, kind: row.kind }),
      }),
    ),
  });
}
