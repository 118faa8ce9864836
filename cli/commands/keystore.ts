import type { Command } from 'commander';
import { type AssuranceLevel, assuranceLevels } from '../../api/assurance.ts';
import type { KeystoreShowView } from '../../api/routes/keystores.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { gather } from '../arguments.ts';
import { parseDuration } from '../durations.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import {
  dueText,
  lastReviewText,
  parseDays,
  reviewKeystore,
  updateKeystore,
} from '../keystores/review.ts';

export function addKeystoreCommands(program: Command, state: RunState): void {
  const keystore = program
    .command('keystore')
    .description('where private keys live: HSMs, TPMs and cards beside the built-in keystores');
  keystore
    .command('add')
    .description('add the token of a PKCS #11 module; it is tried first')
    .argument('<name>', 'how keys and policies name it')
    .requiredOption('--uri <uri>', 'token, module and PIN file as a PKCS #11 URI (RFC 7512)')
    .option('--assurance <level>', 'its certified level, such as fips-140-2-level-3')
    .option('--env <name=value>', 'a variable for the module; several times', gather)
    .option('--review-every-days <days>', 'who has access is reviewed so often, such as 90')
    .action(act(state, addKeystore));
  keystore
    .command('group')
    .description('make a keystore of two: keys are in both, and one stands in for the other')
    .argument('<name>', 'how keys and policies name it')
    .requiredOption('--primary <keystore>', 'makes the keys, and is used while it answers')
    .requiredOption('--secondary <keystore>', 'takes them in, and is used when the other is away')
    .option('--deadline <duration>', 'a member that answers nothing for so long is away', '1s')
    .option('--review-every-days <days>', 'who has access is reviewed so often, such as 90')
    .action(act(state, makeGroup));
  keystore
    .command('list')
    .description('list keystores, those of the configuration included')
    .action(act(state, listKeystores));
  keystore
    .command('show')
    .description('one keystore: device, level, figures, keys in one member alone, last drill')
    .argument('<name>', 'its name')
    .action(act(state, showKeystore));
  keystore
    .command('test')
    .description('ask it now what it is and what it can do; changes nothing there')
    .argument('<name>', 'its name')
    .action(act(state, testKeystore));
  keystore
    .command('drill')
    .description('sign with a test key, in a group on both members, and check the signatures')
    .argument('<name>', 'its name')
    .action(act(state, drillKeystore));
  keystore
    .command('update')
    .description('change how often it is reviewed who has access')
    .argument('<name>', 'its name')
    .requiredOption('--review-every-days <days>', 'so often; or none, for at no fixed times')
    .action(act(state, updateKeystore));
  keystore
    .command('review')
    .description('look at who may do what with its keys, and vouch for that')
    .argument('<name>', 'its name')
    .option('--note <text>', 'what was found, for the record')
    .option('--look', 'show who has access, and vouch for nothing')
    .option('--yes', 'do not ask')
    .action(act(state, reviewKeystore));
  keystore
    .command('remove')
    .description('take a keystore without keys out of use; the token is left as it is')
    .argument('<name>', 'its name')
    .action(act(state, removeKeystore));
}

interface AddOptions {
  readonly uri: string;
  readonly assurance?: string;
  readonly env?: string[];
  readonly reviewEveryDays?: string;
}

async function addKeystore(tools: Tools, options: AddOptions, name: string): Promise<void> {
  const { uri, assurance, env, reviewEveryDays } = options;
  const made = await tools.client().call('keystore.add', {
    body: {
      ...{ name, uri, environment: parseVariables(env ?? []) },
      ...(assurance === undefined ? {} : { assurance: parseAssurance(assurance) }),
      ...(reviewEveryDays === undefined ? {} : { reviewEveryDays: parseDays(reviewEveryDays) }),
    },
  });
  tools.output.data(made);
  printKeystore(tools, made);
  tools.output.note(`added ${made.name}`);
}

interface GroupOptions {
  readonly primary: string;
  readonly secondary: string;
  readonly deadline: string;
  readonly reviewEveryDays?: string;
}

async function makeGroup(tools: Tools, options: GroupOptions, name: string): Promise<void> {
  const { primary, secondary, deadline, reviewEveryDays } = options;
  const made = await tools.client().call('keystore.group', {
    body: {
      ...{ name, primary, secondary, deadlineSeconds: parseDuration(deadline) },
      ...(reviewEveryDays === undefined ? {} : { reviewEveryDays: parseDays(reviewEveryDays) }),
    },
  });
  tools.output.data(made);
  printKeystore(tools, made);
  tools.output.note(`made ${made.name} of ${primary} and ${secondary}`);
}

async function listKeystores(tools: Tools): Promise<void> {
  const list = await tools.client().call('keystore.list', {});
  tools.output.data(list);
  tools.output.table(
    ['NAME', 'KIND', 'STATE', 'KEYS', 'REVIEW', 'WHAT'],
    list.items.map((one) => [
      one.name,
      one.kind,
      one.ready ? 'ready' : 'away',
      String(one.keys),
      one.review?.isOverdue === true ? 'overdue' : (one.review?.dueAt?.slice(0, 10) ?? ''),
      one.group === null
        ? (one.uri ?? '')
        : `${one.group.primary}, ${one.group.secondary} (now: ${one.group.active})`,
    ]),
  );
}

async function showKeystore(tools: Tools, _options: unknown, name: string): Promise<void> {
  const found = await tools.client().call('keystore.show', { params: { keystore: name } });
  tools.output.data(found);
  printKeystore(tools, found);
}

async function testKeystore(tools: Tools, _options: unknown, name: string): Promise<ExitCode> {
  const params = { keystore: name };
  const found = await tools.client().call('keystore.test', { params, body: {} });
  tools.output.data(found);
  printKeystore(tools, found);
  return found.ready ? exitCodes.ok : exitCodes.no;
}

async function drillKeystore(tools: Tools, _options: unknown, name: string): Promise<ExitCode> {
  const params = { keystore: name };
  const result = await tools.client().call('keystore.drill', { params, body: {} });
  tools.output.data(result);
  tools.output.table(
    ['KEYSTORE', 'OUTCOME', 'TIME', 'REASON'],
    result.members.map((one) => [
      one.keystore,
      one.ok ? 'signed' : 'failed',
      one.milliseconds === null ? '' : `${one.milliseconds} ms`,
      one.reason ?? '',
    ]),
  );
  if (result.isShared === false) {
    tools.output.note('the members have a key of their own each: they cannot share one');
  }
  return result.ok ? exitCodes.ok : exitCodes.no;
}

async function removeKeystore(tools: Tools, _options: unknown, name: string): Promise<void> {
  const params = { keystore: name };
  const answer = await tools.client().call('keystore.remove', { params });
  tools.output.data(answer);
  tools.output.note(`removed ${answer.removed}`);
}

function printKeystore(tools: Tools, one: KeystoreShowView): void {
  const { device, figures, group, lastDrill } = one;
  tools.output.details([
    ['name', one.name],
    ['kind', one.kind],
    ['state', one.ready ? 'ready' : 'away'],
    ['reason', one.reason ?? undefined],
    ['uri', one.uri ?? undefined],
    ['device', device === null ? undefined : `${device.manufacturer} ${device.model}`.trim()],
    ['token', device === null ? undefined : `${device.label}, serial ${device.serial}`],
    ['assurance', levelText(one)],
    ['algorithms', one.abilities?.map(({ algorithm }) => algorithm).join(', ')],
    ['members', group === null ? undefined : `${group.primary}, ${group.secondary}`],
    ['works now', group === null ? undefined : group[group.active]],
    ['failovers', group === null ? undefined : String(one.failovers)],
    ['keys', String(one.keys)],
    ['review', dueText(one.review)],
    ['last review', lastReviewText(one.review)],
    ['not in both', one.unmirrored === null ? undefined : unmirroredText(one.unmirrored)],
    ['sessions', figures === null ? undefined : String(figures.sessions)],
    ['restarts', figures === null ? undefined : String(figures.restarts)],
    [
      'last drill',
      lastDrill === null ? undefined : `${lastDrill.at}, ${lastDrill.ok ? 'passed' : 'failed'}`,
    ],
  ]);
}

function levelText({ assurance, assuranceFrom }: KeystoreShowView): string | undefined {
  if (assurance === null) return undefined;
  const { title } = assuranceLevels[assurance];
  return assuranceFrom === 'operator' ? `${title} (declared)` : title;
}

function unmirroredText(list: NonNullable<KeystoreShowView['unmirrored']>): string {
  if (list.length === 0) return 'none';
  return list.map((one) => `${one.key}@${one.version} (${one.only ?? 'in none'})`).join(', ');
}

function parseAssurance(text: string): AssuranceLevel {
  if (Object.hasOwn(assuranceLevels, text)) return text as AssuranceLevel;
  throw new KeyreeveError('invalid-request', `"${text}" is not a level of assurance`, {
    hint: `Choose one of: ${Object.keys(assuranceLevels).join(', ')}.`,
  });
}

function parseVariables(pairs: readonly string[]): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const pair of pairs) {
    const border = pair.indexOf('=');
    const name = pair.slice(0, Math.max(border, 0));
    if (name === '' || Object.hasOwn(variables, name)) {
      throw new KeyreeveError('invalid-request', `"${pair}" is not a variable, or is there twice`, {
        hint: 'Write it as --env NAME=VALUE.',
      });
    }
    variables[name] = pair.slice(border + 1);
  }
  return variables;
}
