import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { KeyreeveError } from '../../server/base/errors.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { parseWhole } from '../arguments.ts';
import { printableLines } from '../output.ts';

export function addAccessCommands(program: Command, state: RunState): void {
  const access = program.command('access').description('who may do what');
  access
    .command('apply')
    .description('put the access rules of a folder in force: its *.cedar files')
    .argument('<folder>')
    .option('--saw-version <number>', 'refuse where another version is in force by now')
    .action(act(state, applyRules));
  access
    .command('show')
    .description('print the access rules in force')
    .option('--roles', 'the roles and which of them conflict')
    .action(act(state, showRules));
}

/** The rules of a folder as one text, in order of file names. Throws where there are none. */
export function readRules(folder: string): string {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.cedar'))
    .sort();
  if (names.length === 0) {
    throw new KeyreeveError('not-found', `${folder} holds no *.cedar file`, {
      hint: 'Write the rules in force there with: keyreeve access show > FOLDER/rules.cedar',
    });
  }
  return names
    .map((name) => readFileSync(join(folder, name), 'utf8').trimEnd())
    .join('\n\n')
    .concat('\n');
}

async function applyRules(
  tools: Tools,
  options: { sawVersion?: string },
  folder: string,
): Promise<void> {
  const { sawVersion } = options;
  const policies = readRules(folder);
  const applied = await tools.client().call('access.apply', {
    body: {
      policies,
      sawVersion:
        sawVersion === undefined
          ? undefined
          : parseWhole(sawVersion, '--saw-version', 0, Number.MAX_SAFE_INTEGER),
    },
  });
  tools.output.data(applied);
  tools.output.note(`version ${applied.version} of the access rules is in force`);
}

async function showRules(tools: Tools, options: { roles?: boolean }): Promise<void> {
  const { output, context } = tools;
  const access = await tools.client().call('access.show');
  output.data(access);
  if (options.roles === true) {
    output.table(
      ['ROLE', 'TITLE', 'CONFLICTS WITH'],
      access.roles.map((role) => [role.name, role.title, role.conflictsWith.join(', ') || '-']),
    );
    return;
  }
  // As they are into a file, so that they can be applied again; a terminal gets no control characters.
  const { standardOutput } = context;
  const { policies } = access;
  if (!output.json) {
    standardOutput.write(standardOutput.isTTY === true ? printableLines(policies) : policies);
  }
  output.note(`version ${access.version}, ${access.digest}`);
}
