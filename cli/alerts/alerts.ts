import type { Command } from 'commander';
import {
  type AlertKind,
  alertKindNames,
  alertKinds,
  type Severity,
  severities,
} from '../../api/alerts.ts';
import type { AlertTargetView } from '../../api/routes/alerts.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { gather } from '../arguments.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { type AddressOptions, type SecretOptions, settingsFrom, targetFrom } from './options.ts';

export function addAlertCommands(program: Command, state: RunState): void {
  const alert = program
    .command('alert')
    .description('who is told of what happens: webhooks, Slack, syslog, mail');
  withFilters(
    withSettings(
      alert
        .command('add')
        .description('add somebody who is told; give exactly one of webhook, slack, syslog, mail')
        .argument('<name>', 'how it is called')
        .option('--webhook <url>', 'JSON to this URL, signed with the key of --secret-file')
        .option('--slack-file <file>', 'the URL of an incoming webhook of Slack: a secret')
        .option('--syslog <address>', 'RFC 5424 over TLS, such as tls://logs.example.org:6514')
        .option('--mail <address>', 'such as smtps://user@mail.example.org, or smtp:// (STARTTLS)'),
    ),
  ).action(act(state, addTarget));
  alert.command('list').description('list who is told').action(act(state, listTargets));
  alert
    .command('show')
    .description('one of them: what waits for it, when it was reached last, and why not')
    .argument('<name>', 'its name')
    .action(act(state, showTarget));
  withFilters(
    withSettings(
      alert
        .command('update')
        .description('change what it is told of, or where it is')
        .argument('<name>', 'its name')
        .option('--address <address>', 'its new address; a secret has to be given again with it')
        .option('--slack-file <file>', 'the new URL of Slack')
        .option('--every-kind', 'tell it of all kinds again')
        .option('--system-cas', 'trust the CAs of the system again')
        .option('--no-plain-http', 'let nothing go to another host without TLS again'),
    ),
  ).action(act(state, updateTarget));
  alert
    .command('remove')
    .description('tell it no more; what waits for it goes with it')
    .argument('<name>', 'its name')
    .action(act(state, removeTarget));
  alert
    .command('test')
    .description('send it an alert now and say what came of it')
    .argument('<name>', 'its name')
    .action(act(state, testTarget));
  alert
    .command('kinds')
    .description('list all kinds of alerts and their severities')
    .action(act(state, listKinds));
}

function withSettings(command: Command): Command {
  return command
    .option(
      '--secret-file <file>',
      'key of the signatures: whsec_ and base64, or 24 bytes and more',
    )
    .option('--password-file <file>', 'password of the user at the mail server')
    .option('--ca <file>', 'certificates of the only CAs to trust, PEM')
    .option('--from <address>', 'sender of mails')
    .option('--to <address>', 'recipient of mails; several times', gather)
    .option('--plain-http', 'let a webhook go to another host without TLS');
}

function withFilters(command: Command): Command {
  return command
    .option('--severity <severity>', 'told of this and worse (notice)')
    .option('--kind <kind>', 'told of this kind alone; several times', gather);
}

interface FilterOptions {
  readonly severity?: string;
  readonly kind?: string[];
}

async function addTarget(
  tools: Tools,
  options: FilterOptions & AddressOptions & SecretOptions,
  name: string,
): Promise<void> {
  const { kind, ...settings } = await targetFrom(tools, options);
  const made = await tools.client().call('alert.add', {
    body: { name, kind, ...settings, ...filtersFrom(options) },
  });
  tools.output.data(made);
  printTarget(tools, made);
  tools.output.note(`added ${made.name}; try it with: keyreeve alert test ${made.name}`);
}

interface UpdateOptions extends FilterOptions, SecretOptions {
  readonly address?: string;
  readonly everyKind?: boolean;
}

async function updateTarget(tools: Tools, options: UpdateOptions, name: string): Promise<void> {
  const { address, everyKind } = options;
  const changed = await tools.client().call('alert.update', {
    params: { target: name },
    body: {
      ...(address === undefined ? {} : { address }),
      ...(await settingsFrom(tools, options)),
      ...filtersFrom(options),
      ...(everyKind === true ? { kinds: null } : {}),
    },
  });
  tools.output.data(changed);
  printTarget(tools, changed);
  tools.output.note(`changed ${changed.name}`);
}

async function listTargets(tools: Tools): Promise<void> {
  const list = await tools.client().call('alert.list', {});
  tools.output.data(list);
  tools.output.table(
    ['NAME', 'KIND', 'SEVERITY', 'WAITING', 'STATE', 'ADDRESS'],
    list.items.map((one) => [
      one.name,
      one.kind,
      one.severity,
      String(one.waiting),
      one.failingSince === null ? 'ok' : `failing since ${one.failingSince}`,
      one.address,
    ]),
  );
}

async function showTarget(tools: Tools, _options: unknown, name: string): Promise<void> {
  const found = await tools.client().call('alert.show', { params: { target: name } });
  tools.output.data(found);
  printTarget(tools, found);
}

async function removeTarget(tools: Tools, _options: unknown, name: string): Promise<void> {
  const answer = await tools.client().call('alert.remove', { params: { target: name } });
  tools.output.data(answer);
  const with_ = answer.dropped === 0 ? '' : `, and ${answer.dropped} alerts that waited for it`;
  tools.output.note(`removed ${answer.removed}${with_}`);
}

async function testTarget(tools: Tools, _options: unknown, name: string): Promise<ExitCode> {
  const params = { target: name };
  const result = await tools.client().call('alert.test', { params, body: {} });
  tools.output.data(result);
  tools.output.details([
    ['delivered', result.delivered ? 'yes' : 'no'],
    ['reason', result.reason ?? undefined],
    ['alert', result.alert],
    ['time', `${result.milliseconds} ms`],
  ]);
  return result.delivered ? exitCodes.ok : exitCodes.no;
}

async function listKinds(tools: Tools): Promise<void> {
  const kinds = alertKindNames.map((kind) => ({ kind, ...alertKinds[kind] }));
  tools.output.data({ items: kinds });
  tools.output.table(
    ['KIND', 'SEVERITY', 'WHAT'],
    kinds.map(({ kind, severity, title }) => [kind, severity, title]),
  );
}

function printTarget(tools: Tools, one: AlertTargetView): void {
  tools.output.details([
    ['name', one.name],
    ['kind', one.kind],
    ['address', one.address],
    ['from', one.from ?? undefined],
    ['to', one.to?.join(', ')],
    ['trusts', one.hasCa ? 'a CA of its own' : 'the CAs of the system'],
    ['secret', one.hasSecret ? 'sealed' : 'none'],
    ['severity', `${one.severity} and worse`],
    ['kinds', one.kinds?.join(', ') ?? 'all'],
    ['waiting', String(one.waiting)],
    ['last delivered', one.deliveredAt ?? 'never'],
    ['failing since', one.failingSince ?? undefined],
    ['reason', one.reason ?? undefined],
  ]);
}

function filtersFrom({ severity, kind }: FilterOptions) {
  return {
    ...(severity === undefined ? {} : { severity: oneOf(severity, severities, 'severity') }),
    ...(kind === undefined
      ? {}
      : { kinds: kind.map((name) => oneOf(name, alertKindNames, 'kind of alert')) }),
  } satisfies { severity?: Severity; kinds?: AlertKind[] };
}

function oneOf<Name extends string>(text: string, names: readonly Name[], what: string): Name {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new KeyreeveError('invalid-request', `"${text}" is not a ${what}`, {
    hint: `Choose one of: ${names.join(', ')}.`,
  });
}
