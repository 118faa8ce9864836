import type { Command } from 'commander';
import { act, type RunState, type Tools } from '../act.ts';
import { gather } from '../arguments.ts';
import { parseDuration } from '../durations.ts';
import { collectPages, type PageOptions } from '../pages.ts';

export function addTokenCommands(program: Command, state: RunState): void {
  const token = program.command('token').description('tokens: who may call, as what, how long');
  token
    .command('create')
    .description('make a token and print it once; it never has more rights than you')
    .requiredOption('--ttl <duration>', 'how long it is valid, such as 1h or 90d')
    .option('--role <role>', 'narrowed to this role; several times', gather)
    .option('--folder <folder>', 'narrowed to keys in this folder and below; several times', gather)
    .option('--principal <principal>', 'whose token; yours, if left out')
    .option('--label <text>', 'what it is for')
    .action(act(state, createToken));
  token
    .command('list')
    .description('list tokens, without their secrets')
    .option('--principal <principal>', 'only those of this principal')
    .option('--limit <count>', 'at most this many', '1000')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listTokens));
  token
    .command('revoke')
    .description('revoke a token and all that were made with it')
    .argument('<id>', 'its id, or current for the one in use')
    .action(act(state, revokeToken));
}

interface CreateOptions {
  readonly ttl: string;
  readonly role?: string[];
  readonly folder?: string[];
  readonly principal?: string;
  readonly label?: string;
}

async function createToken(tools: Tools, options: CreateOptions): Promise<void> {
  const made = await tools.client().call('token.create', {
    body: {
      ttlSeconds: parseDuration(options.ttl),
      roles: options.role,
      folders: options.folder,
      principal: options.principal,
      ...(options.label === undefined ? {} : { label: options.label }),
    },
  });
  tools.output.data(made);
  // The token alone on standard output, so that a script can take it.
  tools.output.print(made.token);
  const roles = made.roles.join(', ');
  tools.output.note(`${made.id} of ${made.principal} (${roles}), until ${made.expiresAt}`);
}

async function listTokens(
  tools: Tools,
  options: PageOptions & { principal?: string },
): Promise<void> {
  const client = tools.client();
  const { principal } = options;
  const list = await collectPages(tools.output, options, (page) =>
    client.call('token.list', { query: { ...page, principal } }),
  );
  tools.output.data(list);
  tools.output.table(
    ['ID', 'PRINCIPAL', 'ROLES', 'FOLDERS', 'UNTIL', 'LABEL'],
    list.items.map((one) => [
      one.id,
      one.principal,
      one.roles.join(','),
      one.folders?.join(',') ?? 'all',
      one.revokedAt === null ? one.expiresAt : 'revoked',
      one.label,
    ]),
  );
}

async function revokeToken(tools: Tools, _options: unknown, id: string): Promise<void> {
  const token = await tools.client().call('token.revoke', { params: { token: id } });
  tools.output.data(token);
  tools.output.note(`revoked ${token.id}`);
}
