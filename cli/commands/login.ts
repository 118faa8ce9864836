import type { Command } from 'commander';
import { parseLoginCode } from '../../api/login-code.ts';
import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import { createClient } from '../../client/api-client.ts';
import { fetchPinnedCa } from '../../client/pin.ts';
import { isKeyreeveError, KeyreeveError } from '../../server/base/errors.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { readText } from '../files.ts';
import { printJobs } from '../jobs-view.ts';
import type { Output } from '../output.ts';
import { prepareProfile, profilePath, readProfile, writeProfile } from '../profile.ts';
import { version } from '../version.ts';

export function addLoginCommands(program: Command, state: RunState): void {
  program
    .command('login')
    .description('log in with a one-time code; it also says which service to trust')
    .requiredOption('--code <code>', 'the code, or - for standard input')
    .action(act(state, login));
  program
    .command('login-code')
    .description('make a new one-time code for the administrator; on the host of the service')
    .action(act(state, makeLoginCode));
  program
    .command('status')
    .description('how the service is, and who you are')
    .action(act(state, status));
  program
    .command('logout')
    .description('revoke the token of this profile and forget it')
    .action(act(state, logout));
}

async function login(tools: Tools, options: { code: string }): Promise<void> {
  const { context, output } = tools;
  const text = options.code === '-' ? await readText(context, '-', 1000) : options.code;
  const code = parseLoginCode(text);
  if (code === undefined) {
    throw new KeyreeveError('login-code-invalid', 'the login code is mistyped or not whole', {
      hint: 'Copy it whole, from "keyreeve login-code" or from the first start of the service.',
    });
  }
  const { url } = tools.session();
  // The code works once: it is not spent where the token could not be kept.
  prepareProfile(context);
  // The code names the CA, so nothing is sent before the service has shown itself to be the one.
  const caPem = await fetchPinnedCa(url, code.caPin);
  const client = createClient({ url, caPem, agentName: `keyreeve-cli/${version()}` });
  try {
    const answer = await client.call('login', { body: { code: text.trim() } });
    writeProfile(context, {
      url,
      caPem,
      token: answer.token,
      principal: answer.principal.name,
      expiresAt: answer.expiresAt,
      records: readProfile(context)?.records ?? {},
    });
    output.data({ url, principal: answer.principal, expiresAt: answer.expiresAt });
    output.note(`logged in to ${url} as ${answer.principal.name}, until ${answer.expiresAt}`);
    output.note(`the token is in ${profilePath(context)}`);
  } finally {
    client.close();
  }
}

async function makeLoginCode(tools: Tools): Promise<void> {
  const { createLoginCodeOnHost } = await import('../login-code-on-host.ts');
  const made = await createLoginCodeOnHost(tools.context.env, tools.context.clock);
  tools.output.data(made);
  tools.output.print(made.code);
  tools.output.note(`it works once, until ${made.expiresAt}: keyreeve login --code -`);
}

async function status(tools: Tools): Promise<void> {
  const { output } = tools;
  const client = tools.client();
  const answer = await client.call('status');
  output.data(answer);
  const me = await client.call('principal.show', { params: { principal: 'me' } }).catch(() => null);
  printStatus(output, client.url, me?.name, answer);
}

function printStatus(
  output: Output,
  url: string,
  principal: string | undefined,
  answer: ResponseOf<Routes['status']>,
): void {
  const { database, rootKey, record, keys, keystores, authorities, publication } = answer;
  const { valid, revoked, expired } = authorities.certificates;
  const readiness = (part: { ready: boolean; reason: string | null }) =>
    part.ready ? 'ready' : `not ready: ${part.reason ?? 'no reason given'}`;
  const waiting = record.waiting > 0 ? `, ${record.waiting} waiting` : '';
  output.details([
    ['service', `${url}, version ${answer.version}, since ${answer.startedAt}`],
    ['installation', answer.installation],
    ['you', principal],
    ['database', `${database.dialect}, ${readiness(database)}`],
    ...answer.nodes.map((node) => [`node ${node.name}`, nodeNote(node)] as const),
    ...keystores.map(
      (store) =>
        [
          `keystore ${store.name}`,
          `${store.kind}, ${readiness(store)}${reviewNote(store)}`,
        ] as const,
    ),
    ['root key', `${rootKey.kind} ${rootKey.location}, ${rootKey.fingerprint}`],
    ['root key away', rootKey.reason ?? undefined],
    ['protects', rootKey.protects],
    ['advice', rootKey.advice === '' ? undefined : rootKey.advice],
    ['record', `${record.origin}, ${record.size} entries${waiting}`],
    ['checkpoint', record.reason ?? record.publishedAt ?? 'not published yet'],
    [
      'keys',
      `${keys.total}, to be rotated ${keys.rotationDue}, to be destroyed ${keys.pendingDestruction}`,
    ],
    [
      'CAs',
      `${authorities.total}; certificates: ${valid} valid, ${revoked} revoked, ${expired} expired`,
    ],
    ['public files', publicFiles(publication)],
    ['next CRL', nextCrl(publication)],
    ['last backup', answer.backup.lastAt ?? 'none'],
    ...answer.alerts.targets.map((target) => [`alerts ${target.name}`, alertNote(target)] as const),
    ['certificate', `until ${answer.tls.expiresAt}`],
  ]);
  printJobs(output, answer.jobs);
}

function nodeNote({ version, startedAt, seenAt, isThis }: NodeStatus): string {
  const seen = isThis ? 'this one' : `seen ${seenAt}`;
  return `version ${version}, since ${startedAt}, ${seen}`;
}

function reviewNote({ reviewDueAt, reviewOverdue }: KeystoreStatus): string {
  if (reviewDueAt === null) return '';
  return `, review ${reviewOverdue ? 'overdue since' : 'due'} ${reviewDueAt}`;
}

function alertNote({ kind, waiting, deliveredAt, failingSince, reason }: AlertStatus): string {
  const last = `${kind}, ${waiting} waiting, last delivered ${deliveredAt ?? 'never'}`;
  return failingSince === null ? last : `${last}, FAILING since ${failingSince}: ${reason ?? ''}`;
}

type AlertStatus = ResponseOf<Routes['status']>['alerts']['targets'][number];
type NodeStatus = ResponseOf<Routes['status']>['nodes'][number];
type KeystoreStatus = ResponseOf<Routes['status']>['keystores'][number];
type PublicationStatus = ResponseOf<Routes['status']>['publication'];

function publicFiles({ url, base }: PublicationStatus): string {
  const addresses = base ?? 'no addresses in certificates (KEYREEVE_PKI_URL)';
  return `${url ?? 'not served (KEYREEVE_HTTP_PORT)'}, ${addresses}`;
}

function nextCrl({ nextDueAt, overdue, problems }: PublicationStatus): string {
  const due = overdue > 0 ? `${overdue} overdue` : (nextDueAt ?? 'none');
  const reasons = problems.map(({ ca, version, reason }) => `${ca}@${version}: ${reason}`);
  return [due, ...reasons].join('; ');
}

async function logout(tools: Tools): Promise<void> {
  const { context, output } = tools;
  const { profile } = tools.session();
  if (profile?.token === undefined) {
    output.data({ revoked: false });
    output.note('nobody is logged in');
    return;
  }
  // A token of the environment is not ours to revoke: the profile's own is sent.
  const { url, caPem, token } = profile;
  const client = createClient({ url, caPem, token, agentName: `keyreeve-cli/${version()}` });
  let revoked = true;
  try {
    await client.call('token.revoke', { params: { token: 'current' } });
  } catch (error) {
    // Expired or revoked before: there is nothing left but to forget it.
    if (!isKeyreeveError(error, 'unauthenticated')) throw error;
    revoked = false;
  } finally {
    client.close();
  }
  // Read again: a login meanwhile has left another token, which stays.
  const now = readProfile(context);
  if (now?.token === profile.token) {
    writeProfile(context, { url, records: now.records, ...(caPem === undefined ? {} : { caPem }) });
  }
  output.data({ revoked });
  output.note(revoked ? `logged out of ${url}` : 'the token was not valid any more; forgotten');
}
