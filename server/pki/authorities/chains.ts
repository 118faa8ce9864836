import { X509Certificate } from 'node:crypto';
import { aboveTerm, type Storage } from '../../storage/storage.ts';
import { type Certificate, parseCertificate } from '../../x509/x509.ts';

/** The profile of certificates by which the versions of a root vouch for each other. */
export const crossProfileName = 'cross';

/** The certificates above one that was issued outside, in their order, as far as they are here. */
export async function certificatesAbove(
  { db }: Storage,
  keyId: string,
  certificate: Certificate,
): Promise<Certificate[]> {
  if (certificate.issuer.equals(certificate.subject)) return [];
  const rows = await db
    .selectFrom('certificate_name')
    .innerJoin('certificate', 'certificate.id', 'certificate_name.certificate_id')
    .select('der')
    .where('term', '=', aboveTerm(keyId))
    .where('der', 'is not', null)
    .execute();
  const known = rows.map((row) => parseCertificate(Buffer.from(row.der!)));
  const above: Certificate[] = [];
  let below = certificate;
  for (;;) {
    const at = known.findIndex((candidate) => isIssuer(candidate, below));
    if (at === -1) return above;
    // Each is taken once: nothing goes round in circles.
    [below] = known.splice(at, 1) as [Certificate];
    above.push(below);
  }
}

/** By name and key identifier, without a look at the signature: it was checked when it came in. */
function isIssuer(candidate: Certificate, below: Certificate): boolean {
  return new X509Certificate(below.der).checkIssued(new X509Certificate(candidate.der));
}

/** The certificates by which the versions of a root vouch for each other: of the newest key first. */
export async function crossCertificates(
  { db }: Storage,
  keyId: string,
  now: number,
): Promise<Buffer[]> {
  const rows = await db
    .selectFrom('certificate')
    .select('der')
    .where('key_id', '=', keyId)
    .where('profile', '=', crossProfileName)
    .where('not_after', '>', now)
    .where('revoked_at', 'is', null)
    .where('der', 'is not', null)
    .orderBy('key_version', 'desc')
    .orderBy('id')
    .execute();
  return rows.map((row) => Buffer.from(row.der!));
}
