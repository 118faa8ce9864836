import type { Command } from 'commander';
import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { gather } from '../arguments.ts';
import { bindPrincipal, listBindings, unbindPrincipal } from '../certificates/bindings.ts';
import { parseDuration } from '../durations.ts';
import { collectPages, type PageOptions } from '../pages.ts';

export function addPrincipalCommands(program: Command, state: RunState): void {
  const principal = program
    .command('principal')
    .description('people, services and devices that call');
  principal
    .command('create')
    .description('make one; conflicting roles are refused')
    .argument('<name>')
    .requiredOption('--kind <kind>', 'person, service or device')
    .option('--role <role>', 'several times', gather)
    .action(act(state, createPrincipal));
  principal
    .command('list')
    .description('list all')
    .option('--limit <count>', 'at most this many', '1000')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listPrincipals));
  principal
    .command('show')
    .description('show one; me is you')
    .argument('<name>')
    .action(act(state, showPrincipal));
  principal
    .command('update')
    .description('give it these roles and no others')
    .argument('<name>')
    .option('--role <role>', 'several times', gather)
    .option('--no-roles', 'take all roles away')
    .action(act(state, updatePrincipal));
  principal
    .command('disable')
    .description('refuse all its calls from now on')
    .argument('<name>')
    .action(act(state, (tools, _options, name) => setState(tools, name, 'disabled')));
  principal
    .command('enable')
    .description('let it call again')
    .argument('<name>')
    .action(act(state, (tools, _options, name) => setState(tools, name, 'active')));
  principal
    .command('enrol')
    .description('make a one-time login code for it and print it once; earlier ones end')
    .argument('<name>')
    .option('--token-ttl <duration>', 'how long the token lasts that the login gives')
    .action(act(state, enrolPrincipal));
  addBindings(principal, state);
}

function addBindings(principal: Command, state: RunState): void {
  principal
    .command('bind')
    .description('let client certificates of a CA log in as it; name one thing that they carry')
    .argument('<name>')
    .requiredOption('--ca <name>', 'of this CA, directly')
    .option('--dns <name>', 'this DNS name')
    .option('--email <address>', 'this mail address')
    .option('--uri <uri>', 'this URI, such as spiffe://example.org/builder')
    .option('--subject <dn>', 'this whole subject')
    .option('--key <key>', 'this public key: its SHA-256, or a PEM file')
    .option('--certificate <file>', 'this certificate alone: its SHA-256, or a PEM file')
    .action(act(state, bindPrincipal));
  principal
    .command('bindings')
    .description('list the client certificates that log in as it')
    .argument('<name>')
    .action(act(state, listBindings));
  principal
    .command('unbind')
    .description('end a binding: its certificates log in no more, from the next request on')
    .argument('<id>')
    .action(act(state, unbindPrincipal));
}

type Kind = 'person' | 'service' | 'device';
type PrincipalView = ResponseOf<Routes['principal.show']>;

async function createPrincipal(
  tools: Tools,
  options: { kind: string; role?: string[] },
  name: string,
): Promise<void> {
  const body = { name, kind: options.kind as Kind, roles: options.role ?? [] };
  print(tools, await tools.client().call('principal.create', { body }));
}

async function listPrincipals(tools: Tools, options: PageOptions): Promise<void> {
  const client = tools.client();
  const list = await collectPages(tools.output, options, (page) =>
    client.call('principal.list', { query: page }),
  );
  tools.output.data(list);
  tools.output.table(
    ['NAME', 'KIND', 'STATE', 'ROLES', 'ID'],
    list.items.map((one) => [one.name, one.kind, one.state, one.roles.join(','), one.id]),
  );
}

async function showPrincipal(tools: Tools, _options: unknown, name: string): Promise<void> {
  print(tools, await tools.client().call('principal.show', { params: { principal: name } }));
}

async function updatePrincipal(
  tools: Tools,
  options: { role?: string[]; roles?: boolean },
  name: string,
): Promise<void> {
  const roles = options.roles === false ? [] : options.role;
  if (roles === undefined) {
    throw new KeyreeveError('invalid-request', 'nothing to change was named', {
      hint: 'Name its roles with --role, or take them away with --no-roles.',
    });
  }
  const request = { params: { principal: name }, body: { roles } };
  print(tools, await tools.client().call('principal.update', request));
}

async function setState(tools: Tools, name: string, state: 'active' | 'disabled'): Promise<void> {
  const request = { params: { principal: name }, body: { state } };
  print(tools, await tools.client().call('principal.update', request));
}

async function enrolPrincipal(
  tools: Tools,
  options: { tokenTtl?: string },
  name: string,
): Promise<void> {
  const { tokenTtl } = options;
  const made = await tools.client().call('principal.enrol', {
    params: { principal: name },
    body: tokenTtl === undefined ? {} : { tokenTtlSeconds: parseDuration(tokenTtl) },
  });
  tools.output.data(made);
  // The code alone on standard output, so that a script can pass it on.
  tools.output.print(made.code);
  tools.output.note(
    `${made.principal.name} logs in once with it, until ${made.expiresAt}: keyreeve login --code -`,
  );
}

function print(tools: Tools, principal: PrincipalView): void {
  tools.output.data(principal);
  tools.output.details([
    ['name', principal.name],
    ['id', principal.id],
    ['kind', principal.kind],
    ['state', principal.state],
    ['roles', principal.roles.join(', ') || 'none'],
    ['created', principal.createdAt],
  ]);
}
