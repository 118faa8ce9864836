import type { Command } from 'commander';
import { act, type RunState } from '../act.ts';
import { approve, reject, withdraw } from './decide.ts';
import { applyRules, showRules } from './rules.ts';
import { listApprovals, showApproval } from './view.ts';

export function addApprovalCommands(program: Command, state: RunState): void {
  const approval = program
    .command('approval')
    .description('commands that others have to agree to before they run');
  approval
    .command('list')
    .description('list those that you asked for, may decide or may see; newest first')
    .option('--mine', 'only those that you asked for')
    .option('--waiting', 'only those that wait for your word')
    .option('--state <state>', 'such as pending, approved, executed or rejected')
    .option('--limit <count>', 'at most this many', '100')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listApprovals));
  approval
    .command('show')
    .description('exactly what will run, who asks for it, who has to agree, and who has')
    .argument('<id>', 'apr_…')
    .action(act(state, showApproval));
  approval
    .command('approve')
    .description('look at what will run, and agree to it')
    .argument('<id>', 'apr_…')
    .option('--reason <text>', 'for whoever reads it later')
    .option('--digest <hex>', 'of what you have looked at: refused where it is another')
    .option('--yes', 'do not ask; takes --digest')
    .action(act(state, approve));
  approval
    .command('reject')
    .description('refuse it: one word ends the request')
    .argument('<id>', 'apr_…')
    .requiredOption('--reason <text>', 'why, for whoever asked')
    .action(act(state, reject));
  approval
    .command('withdraw')
    .description('take your own request back')
    .argument('<id>', 'apr_…')
    .action(act(state, withdraw));
  const rules = approval.command('rules').description('which commands need the approval of others');
  rules
    .command('show')
    .description('show the rules in force; with --json as "approval rules apply" takes them')
    .action(act(state, showRules));
  rules
    .command('apply')
    .description('put rules in force; to weaken one needs the approvals it asks for')
    .argument('<file>', 'JSON, or - for standard input')
    .option('--saw-version <number>', 'refused where other rules are in force by now')
    .action(act(state, applyRules));
}
