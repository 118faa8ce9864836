import type { Action } from '../../../api/actions.ts';
import type { BodyOf } from '../../../api/route.ts';
import type { Routes } from '../../../api/routes.ts';
import type { Caller } from '../../base/caller.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import type { Handlers } from '../../base/handler.ts';
import { resourceOf } from '../../keys/keys.ts';
import { resolveSearch, wholeRowsOf } from './certificate-reads.ts';
import { type CertificateRow, pemOf, Views } from './certificate-view.ts';
import type { Context } from './context.ts';
import { commandResource } from './rights.ts';
import { type Search, searchIds } from './search.ts';

const exportPageRows = 200;
const action: Action = 'certificate.export';
type Format = BodyOf<Routes['certificate.export']>['format'];

const forms = {
  pem: { contentType: 'application/x-pem-file', fileName: 'certificates.pem' },
  jsonl: { contentType: 'application/jsonl', fileName: 'certificates.jsonl' },
} as const satisfies Record<Format, { contentType: string; fileName: string }>;

/**
 * Every certificate that a search finds. Recorded before the first octet leaves; pages are read as
 * the client takes them.
 */
export function createCertificateExport(context: Context): Handlers<'certificate.export'> {
  const { commands } = context;
  return {
    'certificate.export': async ({ caller, body }) => {
      const { format, ...asked } = body;
      const search = await commands.prepare(caller, action, () =>
        resolveSearch(context, caller, asked, action),
      );
      // Without the idempotency key: each repetition is an export of its own, allowed and recorded.
      await commands.run(caller, {
        action,
        resource: await commandResource(context, search.owners),
        also: await alsoAsked(context, search.owners),
        input: { ...body },
        raisesEpoch: false,
        act: async () => ({
          result: null,
          steps: [],
          about: { detail: canonicalJson({ ...body }) },
        }),
      });
      return { ...forms[format], body: linesOf(context, caller, search, format) };
    },
  };
}

/** Approval rules look at each CA whose certificates leave, not at the first alone. */
async function alsoAsked({ authorities }: Context, owners: readonly string[]) {
  const known = await Promise.all(owners.slice(1).map((id) => authorities.byId(id)));
  return known.map(({ key }) => ({ action, resource: resourceOf(key) }) as const);
}

async function* linesOf(
  context: Context,
  caller: Caller,
  search: Search,
  format: Format,
): AsyncGenerator<Uint8Array> {
  const views = new Views(context.keys, caller);
  const now = context.clock.now();
  let after: string | undefined;
  do {
    const page = { after, limit: exportPageRows };
    const found = await searchIds(context.storage, search, page, now);
    const texts: string[] = [];
    for (const row of await wholeRowsOf(context, found.ids)) {
      texts.push(format === 'pem' ? pemLines(row) : await jsonLine(views, row));
    }
    if (texts.length > 0) yield Buffer.from(texts.join(''), 'utf8');
    after = found.next;
  } while (after !== undefined);
}

/** Text outside of the blocks is a comment (RFC 7468, section 2). */
function pemLines(row: CertificateRow): string {
  const comment = `# ${row.serial} ${row.subject}`.replaceAll(/\p{Cc}/gu, ' ');
  const pem = pemOf(row.der);
  return pem === null ? `${comment}: only the number is known\n` : `${comment}\n${pem}`;
}

async function jsonLine(views: Views, row: CertificateRow): Promise<string> {
  const { der, ...listed } = row;
  return `${JSON.stringify({ ...(await views.of(listed)), certificate: pemOf(der) })}\n`;
}
