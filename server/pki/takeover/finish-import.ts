import type { CaView } from '../../../api/routes/authorities.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Call } from '../../base/handler.ts';
import { resourceOf } from '../../keys/keys.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import type { Authority } from '../authority.ts';
import { isKept } from './inventory-store.ts';
import { importedVersion, importingCertificate, type TakeoverParts } from './takeover-parts.ts';

/**
 * Ends a take-over: what is stored has to be as much as the caller says there is. From the write on
 * the CA issues here, and its next CRL, which has the next number, is due at once.
 */
export async function finishImport(
  parts: TakeoverParts,
  call: Call<'ca.import-finish'>,
): Promise<CaView> {
  const { commands, authorities } = parts;
  const { caller, body } = call;
  const known = await commands.prepare(caller, 'ca.import', () =>
    authorities.lookup(caller, call.params.ca, 'ca.import'),
  );
  const { key } = known;
  const view = await parts.portions.run(key.id, () =>
    commands.run(caller, {
      action: 'ca.import',
      resource: resourceOf(key),
      about: { keyId: key.id, keyName: key.name, keyVersion: String(importedVersion) },
      input: [key.id, { ...body }],
      idempotencyKey: call.idempotencyKey,
      act: async () => {
        const authority = await authorities.store.fresh(key.id);
        importingCertificate(authority);
        const counts = await storedCounts(parts.storage, key.id);
        requireAgreement(key.name, body, counts);
        const now = parts.clock.now();
        const finished = asFinished(authority, now);
        return {
          result: dueAt(await authorities.view(finished, added(authority, now)), now),
          steps: finishSteps(parts.storage, authority, now),
          about: { detail: canonicalJson({ ...counts, finished: true }) },
        };
      },
    }),
  );
  parts.onRevoked(key.id, importedVersion);
  return view;
}

interface InventoryCounts {
  readonly issued: number;
  readonly revoked: number;
}

async function storedCounts({ db }: Storage, caId: string): Promise<InventoryCounts> {
  const count = async (onlyRevoked: boolean) => {
    const query = db
      .selectFrom('certificate')
      .select((expression) => expression.fn.countAll<number>().as('count'))
      .where('ca_id', '=', caId);
    const row = await (onlyRevoked
      ? query.where('revoked_at', 'is not', null)
      : query
    ).executeTakeFirstOrThrow();
    return Number(row.count);
  };
  return { issued: await count(false), revoked: await count(true) };
}

function requireAgreement(name: string, said: InventoryCounts, stored: InventoryCounts): void {
  for (const what of ['issued', 'revoked'] as const) {
    if (said[what] === stored[what]) continue;
    throw new KeyreeveError(
      'conflict',
      `${name} has ${said[what]} certificates ${what} after what you say, and ${stored[what]} are stored.`,
      {
        hint: 'Send the missing lines of index.txt again (what is known counts as done), or correct the number.',
        data: { said: said[what], stored: stored[what] },
      },
    );
  }
}

function finishSteps({ db }: Storage, authority: Authority, now: number): Step[] {
  const { id, name } = authority.key;
  const steps: Step[] = [
    {
      query: db
        .updateTable('ca')
        .set({ state: 'active', revision: authority.revision + 1 })
        .where('key_id', '=', id)
        .where('state', '=', 'importing')
        .where('revision', '=', authority.revision)
        .where(isKept)
        .compile(),
      expect: { rows: 1, code: 'conflict', message: `${name} was changed meanwhile.` },
    },
    {
      query: db
        .updateTable('ca_version')
        .set({ crl_due_at: now })
        .where('key_id', '=', id)
        .where('version', '=', importedVersion)
        .compile(),
      expect: { rows: 1, code: 'conflict', message: `${name} was changed meanwhile.` },
    },
  ];
  if (isUnlistedRoot(authority)) {
    steps.push({
      query: db
        .updateTable('certificate')
        .set({ ca_id: id, ca_version: importedVersion })
        .where('id', '=', authority.versions[0]!.certificateId)
        .where('ca_id', 'is', null)
        .compile(),
      expect: { rows: 1, code: 'conflict', message: `${name} was changed meanwhile.` },
    });
  }
  return steps;
}

/** A root whose own certificate is in no list of what it issued: that one is its own all the same. */
function isUnlistedRoot({ versions, subject }: Authority): boolean {
  const own = versions[0]!;
  return own.issuedBy === null && own.certificate.issuer.equals(subject);
}

function asFinished(authority: Authority, now: number): Authority {
  const { id } = authority.key;
  const [own] = authority.versions;
  return {
    ...authority,
    state: 'active',
    revision: authority.revision + 1,
    versions: [
      {
        ...own!,
        crlDueAt: now,
        ...(isUnlistedRoot(authority) ? { issuedBy: { id, version: importedVersion } } : {}),
      },
    ],
  };
}

// The times of CRLs are read as they are stored, which is before this write.
function dueAt(view: CaView, now: number): CaView {
  const crlDueAt = formatTime(now);
  return { ...view, versions: view.versions.map((version) => ({ ...version, crlDueAt })) };
}

function added(authority: Authority, now: number) {
  if (!isUnlistedRoot(authority)) return {};
  return authority.versions[0]!.certificate.notAfter > now ? { valid: 1 } : { expired: 1 };
}
