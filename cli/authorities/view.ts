import type { CaView } from '../../api/routes/authorities.ts';
import type { Tools } from '../act.ts';
import { parseKeyAndVersion } from '../arguments.ts';
import { checkPublicOutput, pemLines, writePublic } from '../certificates/public-output.ts';
import { formatDuration } from '../durations.ts';
import { formatExpiry } from '../expiry.ts';
import { formatPolicy } from '../keys/view.ts';
import { collectPages, type PageOptions } from '../pages.ts';
import { printNotes } from './options.ts';

export async function listCas(tools: Tools, options: PageOptions): Promise<void> {
  const client = tools.client();
  const list = await collectPages(tools.output, options, (page) =>
    client.call('ca.list', { query: page }),
  );
  const now = tools.context.clock.now();
  tools.output.data(list);
  tools.output.table(
    ['NAME', 'STATE', 'ALGORITHM', 'PARENT', 'EXPIRES', 'VALID', 'REVOKED', 'SUBJECT'],
    list.items.map((ca) => {
      const current = currentOf(ca);
      return [
        ca.name,
        ca.state,
        ca.algorithm,
        ca.isRoot ? 'root' : (ca.parent ?? 'elsewhere'),
        current === undefined ? '-' : formatExpiry(current.notAfter, now),
        String(ca.counts.valid),
        String(ca.counts.revoked),
        ca.subject,
      ];
    }),
  );
}

export async function showCa(tools: Tools, _options: unknown, name: string): Promise<void> {
  const ca = await tools.client().call('ca.show', { params: { ca: name } });
  const { output } = tools;
  const now = tools.context.clock.now();
  output.data(ca);
  output.details(detailsOf(ca));
  output.print('');
  output.table(
    ['VERSION', 'STATE', 'SERIAL', 'EXPIRES', 'CRL', 'NEXT CRL', 'ALGORITHM'],
    ca.versions.map((one) => [
      `${one.version}${one.version === ca.currentVersion ? '*' : ''}`,
      one.state,
      one.serial,
      formatExpiry(one.notAfter, now),
      String(one.crlNumber),
      one.crlDueAt ?? '-',
      one.algorithm,
    ]),
  );
  printNotes(tools, ca.notes);
}

function detailsOf(ca: CaView): [string, string | undefined][] {
  const current = currentOf(ca);
  const { permitted, excluded } = ca.nameConstraints;
  const { counts, settings } = ca;
  const { crlEverySeconds, crlValiditySeconds, ...limits } = settings;
  const every = formatDuration(crlEverySeconds);
  return [
    ['name', ca.name],
    ['id', ca.id],
    ['subject', ca.subject],
    ['parent', ca.isRoot ? 'none, it is a root' : (ca.parent ?? 'not in this installation')],
    ['state', ca.state],
    ['algorithm', `${ca.algorithm}, signs with ${ca.scheme}`],
    ['keystore', ca.keystore],
    ['path length', ca.pathLength === null ? 'unlimited' : String(ca.pathLength)],
    ['permitted names', permitted.length === 0 ? undefined : permitted.join(' ')],
    ['excluded names', excluded.length === 0 ? undefined : excluded.join(' ')],
    ['certificate until', current?.notAfter],
    ['certificate sha256', current?.fingerprint],
    ['public key sha256', current?.keyFingerprint],
    ['CRL', `every ${every}, valid ${formatDuration(crlValiditySeconds)}`],
    ['CRL address', current === undefined ? undefined : (current.crlUrl ?? 'none')],
    ['limits', formatPolicy(limits) || undefined],
    ['certificates', `${counts.valid} valid, ${counts.revoked} revoked, ${counts.expired} expired`],
    ['created', ca.createdAt],
  ];
}

interface ChainOptions {
  readonly out?: string;
  readonly cross?: boolean;
}

/** Certificates from the CA up to its root, on standard output where no file is named. */
export async function writeChain(
  tools: Tools,
  options: ChainOptions,
  nameAndVersion: string,
): Promise<void> {
  const { output } = tools;
  const { key: ca, version } = parseKeyAndVersion(nameAndVersion);
  await checkPublicOutput(tools, options.out, 'CERTIFICATE');
  const client = tools.client({ needsToken: false });
  const answer = await client.call('ca.chain', { params: { ca }, query: { version } });
  output.data(answer);
  if (output.json && options.out === undefined) return;
  const pem = pemLines(answer.chain) + (options.cross === true ? pemLines(answer.cross) : '');
  const out = options.out ?? '-';
  await writePublic(tools, out, pem);
  if (out !== '-') output.note(`chain of ${answer.name}, version ${answer.version}, in ${out}`);
  if (options.cross === true && answer.cross === '') {
    output.note(`note: ${answer.name} has no cross certificates`);
  }
}

function currentOf(ca: CaView) {
  return ca.versions.find((one) => one.version === ca.currentVersion) ?? ca.versions.at(-1);
}
