import type { Caller } from '../../base/caller.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { MadeVersion } from '../../keys/keys.ts';
import { aboveTerm, type Step } from '../../storage/storage.ts';
import type { Certificate } from '../../x509/x509.ts';
import type { Authority } from '../authority.ts';
import { insertCertificate, recordOf, serialText, sha256 } from '../certificate-record.ts';
import type { AuthorityCertificate } from './authority-certificate.ts';
import { importedProfile } from './inventory-merge.ts';
import { insertNames } from './inventory-store.ts';
import { importedVersion, type TakeoverParts } from './takeover-parts.ts';

interface By {
  readonly now: number;
  readonly caller: Caller;
}

/** The row of a CA's own certificate, and what has to be written for it. */
export interface OwnCertificate {
  readonly id: string;
  readonly issuedBy: { readonly id: string; readonly version: number } | null;
  readonly steps: readonly Step[];
}

/**
 * The row of the CA's certificate: a new one, or the one that its parent has of it already. A root's
 * belongs to no issuer until its own list names it or the take-over is ended, so that what the list
 * holds can be counted.
 */
export async function ownCertificate(
  parts: TakeoverParts,
  { certificate, isRoot, signer }: AuthorityCertificate,
  parent: Authority | undefined,
  made: MadeVersion,
  { now, caller }: By,
): Promise<OwnCertificate> {
  const issuedBy =
    parent === undefined || signer === undefined
      ? null
      : { id: parent.key.id, version: signer.version };
  const record = recordOf(certificate, {
    ca: issuedBy ?? undefined,
    profile: isRoot ? 'root' : 'intermediate',
    createdAt: now,
    createdBy: caller.principalId,
    key: { id: made.record.id, version: importedVersion },
  });
  const known = issuedBy === null ? undefined : await rowOf(parts, issuedBy.id, certificate);
  if (known === undefined) {
    return { id: record.row.id, issuedBy, steps: insertCertificate(parts.storage, record) };
  }
  if (known.fingerprint !== null && known.fingerprint !== record.row.fingerprint) {
    throw new KeyreeveError(
      'conflict',
      `${parent!.key.name} has issued another certificate of the serial number ${record.row.serial}.`,
    );
  }
  if (known.revoked_at !== null) {
    throw new KeyreeveError('already-revoked', 'The certificate of the CA is revoked.', {
      hint: 'Make a new CA, or give its key a new certificate by the parent.',
    });
  }
  const { id: _, created_at: __, created_by: ___, ...facts } = record.row;
  const step: Step = {
    query: parts.storage.db
      .updateTable('certificate')
      .set(facts)
      .where('id', '=', known.id)
      .where('revoked_at', 'is', null)
      .where('key_id', 'is', null)
      .compile(),
    expect: {
      rows: 1,
      code: 'conflict',
      message: 'The certificate of the CA is that of another key, or was changed meanwhile.',
    },
  };
  const names =
    known.fingerprint === null ? insertNames(parts.storage, known.id, record.terms) : [];
  return { id: known.id, issuedBy, steps: [step, ...names] };
}

/** The certificates above, which chains are made of. One that is there already is named once more. */
export async function upperSteps(
  parts: TakeoverParts,
  keyId: string,
  upper: readonly Certificate[],
  { now, caller }: By,
): Promise<Step[]> {
  const steps: Step[] = [];
  for (const certificate of upper) {
    const known = await parts.storage.db
      .selectFrom('certificate')
      .select('id')
      .where('fingerprint', '=', sha256(certificate.der))
      .executeTakeFirst();
    if (known !== undefined) {
      steps.push(...insertNames(parts.storage, known.id, [aboveTerm(keyId)]));
      continue;
    }
    const record = recordOf(certificate, {
      ca: undefined,
      profile: importedProfile,
      createdAt: now,
      createdBy: caller.principalId,
    });
    const terms = [...record.terms, aboveTerm(keyId)];
    steps.push(...insertCertificate(parts.storage, { ...record, terms }));
  }
  return steps;
}

function rowOf({ storage }: TakeoverParts, caId: string, certificate: Certificate) {
  return storage.db
    .selectFrom('certificate')
    .select(['id', 'fingerprint', 'revoked_at'])
    .where('serial', '=', serialText(certificate.serial))
    .where('ca_id', '=', caId)
    .executeTakeFirst();
}
