import { createHash } from 'node:crypto';
import { importTextLengthMax } from '../../../api/routes/authorities.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Call } from '../../base/handler.ts';
import { mapBatch } from '../../crypto/crypto.ts';
import { resourceOf } from '../../keys/keys.ts';
import { type Certificate, decodePem, parseCertificate } from '../../x509/x509.ts';
import type { Authority } from '../authority.ts';
import { serialText } from '../certificate-record.ts';
import { isSignedBy } from './authority-certificate.ts';
import { type IndexLine, parseIndex } from './index-file.ts';
import { InventoryMerge, type MergedInventory, type StoredRow } from './inventory-merge.ts';
import { isHeldElsewhere, mergeSteps, storedCertificates, storedRows } from './inventory-store.ts';
import { onelineText } from './oneline.ts';
import { importedVersion, importingCertificate, type TakeoverParts } from './takeover-parts.ts';

/** Certificates of one bundle: a request of the largest size holds fewer. */
export const bundleCertificatesMax = 5000;

/**
 * Takes in a portion of what a CA issued and revoked elsewhere: lines of its index, certificates, or
 * both. One write, and one entry with the counts. What contradicts is refused and changes nothing.
 */
export async function importCertificates(
  parts: TakeoverParts,
  call: Call<'ca.import-certificates'>,
): Promise<{ added: number; completed: number; known: number }> {
  const { commands, clock } = parts;
  const { caller, body } = call;
  const authority = await commands.prepare(caller, 'ca.import', () =>
    parts.authorities.lookup(caller, call.params.ca, 'ca.import'),
  );
  const { key } = authority;
  // Portions of one CA come one after the other: each rests on what those before have stored.
  return parts.portions.run(key.id, () =>
    commands.run(caller, {
      action: 'ca.import',
      resource: resourceOf(key),
      about: { keyId: key.id, keyName: key.name, keyVersion: String(importedVersion) },
      input: [key.id, digest(body.index), digest(body.certificates)],
      idempotencyKey: call.idempotencyKey,
      act: async () => {
        const own = importingCertificate(authority);
        const lines = parseIndex(body.index ?? '');
        const certificates = body.certificates ? readBundle(body.certificates) : [];
        if (lines.length + certificates.length === 0) {
          throw new KeyreeveError('invalid-request', 'There is nothing to take in.', {
            hint: 'Send lines of index.txt, certificates, or both.',
          });
        }
        const by = { now: clock.now(), createdBy: caller.principalId };
        const merged = await merge(parts, authority, own, { lines, certificates }, by);
        await authoriseBlocking(parts, call, authority, merged);
        return {
          result: { ...merged.counts },
          steps: mergeSteps(parts.storage, authority, merged, by),
          about: {
            detail: canonicalJson({
              ...merged.counts,
              revoked: lines.filter((line) => line.revocation !== undefined).length,
            }),
          },
        };
      },
    }),
  );
}

async function merge(
  parts: TakeoverParts,
  authority: Authority,
  own: Certificate,
  portion: { readonly lines: readonly IndexLine[]; readonly certificates: readonly Certificate[] },
  by: { readonly now: number; readonly createdBy: string },
): Promise<MergedInventory> {
  const { lines, certificates } = portion;
  const serials = new Set(lines.map((line) => line.serial));
  for (const certificate of certificates) serials.add(serialText(certificate.serial));
  const stored = await storedRows(parts.storage, authority, own, [...serials]);
  await checkIssued(authority, own, certificates);
  const ca = { id: authority.key.id, version: importedVersion };
  const merging = new InventoryMerge(
    { ca, own, ...by },
    await withCertificates(parts, stored, lines),
  );
  for (const line of lines) merging.addLine(line);
  for (const [index, certificate] of certificates.entries()) {
    merging.addCertificate(certificate, index + 1);
  }
  return merging.result();
}

/**
 * Anybody can certify a public key that he has seen, and say that it is compromised: of one that
 * something else here rests on he is believed only if he might block it anyway. Error: `forbidden`.
 */
async function authoriseBlocking(
  { storage, keys }: TakeoverParts,
  { caller }: Call<'ca.import-certificates'>,
  authority: Authority,
  { compromised }: MergedInventory,
): Promise<void> {
  const fingerprints = compromised.map((key) => key.fingerprint);
  if (!(await isHeldElsewhere(storage, authority, fingerprints))) return;
  keys.authorise(caller, 'certificate.block-key', { type: 'system' });
}

function readBundle(pem: string): Certificate[] {
  const found = decodePem(pem, 'CERTIFICATE', {
    lengthMaximum: importTextLengthMax,
    blocksMaximum: bundleCertificatesMax,
  });
  return found.map((der, index) => {
    try {
      return parseCertificate(der);
    } catch (error) {
      if (!(error instanceof KeyreeveError)) throw error;
      throw new KeyreeveError(
        error.code,
        `Certificate ${index + 1} of the bundle: ${error.message}`,
        { hint: 'Leave it out: the line of the index is enough to revoke it.' },
      );
    }
  });
}

/** Another CA's data is believed no further than its signatures go. */
async function checkIssued(
  authority: Authority,
  own: Certificate,
  certificates: readonly Certificate[],
): Promise<void> {
  const verdicts = await mapBatch(certificates, async (certificate) => {
    if (!certificate.issuer.equals(own.subject)) return 'was issued by another CA';
    // What cannot be checked is not taken in: see `InventoryMerge.addCertificate`.
    if (certificate.scheme === undefined) return undefined;
    return (await isSignedBy(certificate, own.spki)) ? undefined : 'is not signed by its key';
  });
  const index = verdicts.findIndex((verdict) => verdict !== undefined);
  if (index === -1) return;
  const serial = serialText(certificates[index]!.serial);
  throw new KeyreeveError(
    'invalid-request',
    `Certificate ${index + 1} of the bundle (${serial}) ${verdicts[index]}: it does not belong to ${authority.key.name}.`,
    { hint: 'Leave it out: the line of the index is enough to revoke it.' },
  );
}

/** Fetches the certificates of those rows whose subject the text alone does not settle. */
async function withCertificates(
  parts: TakeoverParts,
  stored: readonly StoredRow[],
  lines: readonly IndexLine[],
): Promise<StoredRow[]> {
  const subjects = new Map(lines.map((line) => [line.serial, onelineText(line.subject)]));
  const unsettled = stored.filter(
    (row) =>
      row.der === null &&
      row.fingerprint !== null &&
      subjects.has(row.serial) &&
      subjects.get(row.serial) !== row.subject,
  );
  if (unsettled.length === 0) return [...stored];
  const found = await storedCertificates(
    parts.storage,
    unsettled.map((row) => row.id),
  );
  return stored.map((row) => ({ ...row, der: row.der ?? found.get(row.id) ?? null }));
}

/** Names are nobody's secret, but there may be many: an idempotency key stands for their digest. */
function digest(text: string | undefined): string | null {
  return text === undefined ? null : createHash('sha256').update(text).digest('hex');
}
