import {
  approvalRulesMax,
  type GatedAction,
  keyGatedActions,
  keystoreGatedActions,
} from '../../api/approvals.ts';
import type { ApprovalRule } from '../../api/routes/approvals.ts';
import type { Caller } from '../base/caller.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';
import { hasScope } from './matching.ts';
import type { People } from './people.ts';
import { digestOfRules, type RulesInForce, writeRules } from './rules-in-force.ts';
import type { Sight } from './sight.ts';

/** A document of all rules, in bytes of its canonical form. */
export const rulesBytesMax = 256 * 1024;

export interface RuleHandlersOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly rules: RulesInForce;
  readonly people: People;
  readonly sight: Sight;
}

/** Shows the approval rules and puts new ones in force. */
export function ruleHandlers(
  options: RuleHandlersOptions,
  commands: Commands,
): Handlers<'approval.rules.show' | 'approval.rules.apply'> {
  return {
    'approval.rules.show': (call) => show(options, call),
    'approval.rules.apply': (call) => apply(options, commands, call),
  };
}

async function show(
  { rules, people, sight }: RuleHandlersOptions,
  call: Call<'approval.rules.show'>,
) {
  const document = await rules.current();
  const { caller } = call;
  if (!isApprover(document.rules, caller) && !sight.seesAll(caller)) {
    throw new KeyreeveError('forbidden', 'approval.show is not allowed to you.', {
      hint: 'Those see the rules who may approve by them, and auditors.',
      data: { action: 'approval.show' },
    });
  }
  const by = document.appliedBy === null ? undefined : await people.byId(document.appliedBy);
  return {
    version: document.version,
    digest: document.digest,
    appliedAt: document.appliedAt === null ? null : formatTime(document.appliedAt),
    appliedBy: by?.name ?? document.appliedBy,
    rules: [...document.rules],
  };
}

function isApprover(rules: readonly ApprovalRule[], { roles }: Caller): boolean {
  return rules.some((rule) => rule.roles.some((role) => roles.includes(role)));
}

async function apply(
  options: RuleHandlersOptions,
  commands: Commands,
  { caller, body, idempotencyKey }: Call<'approval.rules.apply'>,
) {
  const { storage, clock, rules, people } = options;
  const before = (await rules.current()).version;
  return commands.run(caller, {
    action: 'approval.apply-rules',
    resource: { type: 'system' },
    about: { resource: 'approval-rules' },
    input: { rules: body.rules as unknown as Json, sawVersion: body.sawVersion },
    // Approvers look at the change: of these rules into those.
    binds: { version: before },
    idempotencyKey,
    act: async () => {
      if (body.sawVersion !== undefined && body.sawVersion !== before) throw overtaken(before);
      const text = writeRules(body.rules);
      requireSound(body.rules, text);
      const possible: Step[] = [];
      for (const rule of body.rules) {
        const demand = { rule: rule.name, approvals: rule.approvals, roles: rule.roles };
        possible.push(...(await people.requirePossible(demand, [caller.principalId])));
      }
      const version = before + 1;
      const now = clock.now();
      const digest = digestOfRules(text);
      const insert: Step = {
        query: storage.db
          .insertInto('approval_rules')
          .values({
            ...{ version, rules_json: text, digest },
            ...{ applied_at: now, applied_by: caller.principalId },
          })
          .compile(),
        expect: { rows: 1, code: 'conflict', message: overtaken(before).message, hint: lookAgain },
      };
      return {
        result: { version, digest, appliedAt: formatTime(now) },
        steps: [...possible, insert],
        about: { detail: canonicalJson({ version, digest, rules: body.rules.length }) },
      };
    },
  });
}

/** Error: `invalid-policy`, `too-large`. */
function requireSound(rules: readonly ApprovalRule[], text: string): void {
  if (rules.length > approvalRulesMax || Buffer.byteLength(text) > rulesBytesMax) {
    throw new KeyreeveError('too-large', 'The document of rules is too long.', {
      hint: `It has ${approvalRulesMax} rules and ${rulesBytesMax / 1024} KB at most.`,
    });
  }
  const names = new Set<string>();
  for (const rule of rules) {
    if (names.has(rule.name)) {
      throw unsound(rule, 'stands there twice', 'Give each rule a name of its own.');
    }
    names.add(rule.name);
    requireScoped(rule);
  }
}

/** A rule for folders about what has none would never be met, or always. */
function requireScoped(rule: ApprovalRule): void {
  if (!hasScope(rule)) return;
  const isOfKeys = (action: GatedAction) => (keyGatedActions as readonly string[]).includes(action);
  const isOfKeystores = (action: GatedAction) =>
    (keystoreGatedActions as readonly string[]).includes(action);
  const byKey = [rule.folders, rule.labels, rule.purposes].some((part) => part !== undefined);
  const strange = rule.actions.find(
    (action) => !isOfKeys(action) && (byKey || !isOfKeystores(action)),
  );
  if (strange === undefined) return;
  throw unsound(
    rule,
    `narrows ${strange}, which is not asked of a key`,
    `Put ${strange} into a rule without folders, labels, purposes and keystores.`,
  );
}

function unsound({ name }: ApprovalRule, what: string, hint: string): KeyreeveError {
  return new KeyreeveError('invalid-policy', `The rule "${name}" ${what}.`, {
    hint,
    data: { rule: name },
  });
}

const lookAgain = 'Look at the rules in force and apply yours again: keyreeve approval rules show';

function overtaken(version: number): KeyreeveError {
  return new KeyreeveError(
    'conflict',
    `Version ${version} of the approval rules is not the one seen.`,
    { hint: lookAgain, data: { version } },
  );
}
