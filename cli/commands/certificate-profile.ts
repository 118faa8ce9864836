import type { Command } from 'commander';
import type { Profile, ProfileInput } from '../../api/profiles.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { formatDuration } from '../durations.ts';
import { readText } from '../files.ts';

const profileBytesMax = 65_536;

export function addProfileCommands(program: Command, state: RunState): void {
  const profile = program.command('profile').description('profiles: what certificates hold');
  profile
    .command('list')
    .description('list the certificate profiles')
    .action(act(state, listProfiles));
  profile
    .command('show')
    .description('show a certificate profile; with --json as "profile apply" takes it')
    .argument('<name>')
    .action(act(state, showProfile));
  profile
    .command('apply')
    .description('make a profile, or change one of your own')
    .argument('<file>', 'JSON, or - for standard input')
    .action(act(state, applyProfile));
  profile
    .command('remove')
    .description('remove a profile of your own')
    .argument('<name>')
    .action(act(state, removeProfile));
}

async function listProfiles(tools: Tools): Promise<void> {
  const list = await tools.client().call('profile.list');
  tools.output.data(list);
  tools.output.table(
    ['NAME', 'WHOSE', 'VALIDITY', 'AT MOST', 'WHAT'],
    list.items.map((one) => [
      one.name,
      one.isBuiltIn ? 'built in' : 'yours',
      formatDuration(one.validitySeconds),
      formatDuration(one.validitySecondsMax),
      one.what,
    ]),
  );
}

async function showProfile(tools: Tools, _options: unknown, name: string): Promise<void> {
  const one = await tools.client().call('profile.show', { params: { profile: name } });
  tools.output.data(one);
  tools.output.details([...detailsOf(one), ['whose', one.isBuiltIn ? 'built in' : 'yours']]);
}

function detailsOf(one: Profile): [string, string | undefined][] {
  const { subject, names } = one;
  const list = (items: readonly string[] | undefined, none: string) =>
    items === undefined || items.length === 0 ? none : items.join(', ');
  const flags = [
    names.required ? 'one is required' : '',
    names.wildcards ? 'wildcards' : '',
    names.commonNameIsName ? 'the common name is one of them' : '',
  ].filter(Boolean);
  return [
    ['name', one.name],
    ['title', one.title],
    ['what', one.what],
    ['CA', one.isAuthority ? 'yes' : 'no'],
    ['path length', one.pathLengthMax === undefined ? undefined : String(one.pathLengthMax)],
    ['subject', list(subject.allowed, 'none')],
    ['required of it', subject.required.length === 0 ? undefined : subject.required.join(', ')],
    ['names', [list(names.allowed, 'none'), ...flags].join('; ')],
    ['key usage', one.keyUsage.join(', ')],
    ['extended', list(one.extendedKeyUsage, 'none')],
    ['policies', one.policies.length === 0 ? undefined : one.policies.join(', ')],
    [
      'validity',
      `${formatDuration(one.validitySeconds)}, at most ${formatDuration(one.validitySecondsMax)}`,
    ],
    ['algorithms', list(one.algorithms, 'all that sign')],
    ['key of another', one.exclusiveKey ? 'refused' : 'taken'],
  ];
}

async function applyProfile(tools: Tools, _options: unknown, file: string): Promise<void> {
  const body = parseProfile(await readText(tools.context, file, profileBytesMax), file);
  const made = await tools.client().call('profile.apply', { body });
  tools.output.data(made);
  tools.output.note(
    `the profile ${made.name} is in force: it holds for what is issued from now on`,
  );
}

/** The service looks at what it says; here it only has to be an object. */
function parseProfile(text: string, file: string): ProfileInput {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notJson(file, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw notJson(file);
  // What "profile show" prints says this too, and it is nothing to apply.
  const { isBuiltIn: _, ...profile } = value as Record<string, unknown>;
  return profile as ProfileInput;
}

function notJson(file: string, cause?: unknown): KeyreeveError {
  return new KeyreeveError('invalid-request', `${file} is no JSON object`, {
    hint: 'Begin with what this prints: keyreeve profile show tls-server --json',
    cause,
  });
}

async function removeProfile(tools: Tools, _options: unknown, name: string): Promise<void> {
  const answer = await tools.client().call('profile.remove', { params: { profile: name } });
  tools.output.data(answer);
  tools.output.note(`removed the profile ${answer.removed}`);
}
