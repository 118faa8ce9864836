import { roleNames, roles } from '../../api/roles.ts';
import type { Authorise } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';
import type { RuleGuard } from './rule-guard.ts';
import { digestOf, type RulesInForce } from './rules.ts';

export interface RuleHandlersOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly rules: RulesInForce;
  readonly guard: RuleGuard;
}

/** Shows the access rules and puts new ones in force. */
export function ruleHandlers(
  options: RuleHandlersOptions,
  commands: Commands,
): Handlers<'access.apply' | 'access.show'> {
  return {
    'access.apply': (call) => apply(options, commands, call),
    'access.show': async ({ caller }) => {
      options.authorise(caller, 'access.show', { type: 'system' });
      await options.rules.refresh();
      const { version, digest, policies } = options.rules.current;
      return { version, digest, policies, roles: roleNames.map(viewRole) };
    },
  };
}

function apply(options: RuleHandlersOptions, commands: Commands, call: Call<'access.apply'>) {
  const { storage, clock, rules, guard } = options;
  const { policies, sawVersion } = call.body;
  const digest = digestOf(policies);
  return commands.run(call.caller, {
    action: 'access.apply',
    resource: { type: 'system' },
    about: { resource: 'access-rules' },
    input: { digest, sawVersion },
    idempotencyKey: call.idempotencyKey,
    act: async () => {
      await rules.refresh();
      const before = rules.current.version;
      if (sawVersion !== undefined && sawVersion !== before) throw overtaken(before);
      await guard.requireUsable(policies);
      const version = before + 1;
      const now = clock.now();
      const row = {
        version,
        policies,
        digest,
        applied_at: now,
        applied_by: call.caller.principalId,
      };
      const step: Step = {
        query: storage.db.insertInto('access_rules').values(row).compile(),
        expect: { rows: 1, code: 'conflict', message: overtaken(before).message, hint: lookAgain },
      };
      return {
        result: { version, digest, appliedAt: formatTime(now) },
        steps: [step],
        about: { detail: canonicalJson({ version, digest }) },
      };
    },
  });
}

const lookAgain = 'Look at the rules in force and apply yours again: keyreeve access show';

function overtaken(version: number): KeyreeveError {
  return new KeyreeveError(
    'conflict',
    `Version ${version} of the access rules is not the one seen.`,
    {
      hint: lookAgain,
      data: { version },
    },
  );
}

function viewRole(name: keyof typeof roles) {
  return { name, title: roles[name].title, conflictsWith: [...roles[name].conflictsWith] };
}
