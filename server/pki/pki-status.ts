import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import { formatTime } from '../base/clock.ts';
import { gauge, type MetricSample } from '../base/metric.ts';
import type { CertificateCounts } from './certificate-counts.ts';
import type { PublicationState } from './publication/publication.ts';

/** What `status` says of certificate authorities. */
export type PkiStatus = Pick<ResponseOf<Routes['status']>, 'authorities' | 'publication'>;

export interface PkiFacts {
  readonly authorities: number;
  readonly counts: CertificateCounts;
  readonly publication: PublicationState;
}

export function pkiStatus(
  { authorities, counts, publication }: PkiFacts,
  addresses: { readonly url: string | undefined; readonly base: string | undefined },
): PkiStatus {
  const { nextDueAt, overdue, problems } = publication;
  return {
    authorities: { total: authorities, certificates: counts },
    publication: {
      url: addresses.url ?? null,
      base: addresses.base ?? null,
      nextDueAt: nextDueAt === null ? null : formatTime(nextDueAt),
      overdue,
      problems: problems.map(({ caName, version, since, reason }) => ({
        ...{ ca: caName, version, reason },
        since: formatTime(since),
      })),
    },
  };
}

export function pkiSamples({
  authorities,
  counts,
  publication,
}: PkiFacts): readonly MetricSample[] {
  return [
    gauge('keyreeve_authorities', 'Certificate authorities.', authorities),
    {
      name: 'keyreeve_certificates',
      help: 'Certificates by state, counted once a minute.',
      kind: 'gauge',
      values: Object.entries(counts).map(([state, value]) => ({ labels: { state }, value })),
    },
    gauge('keyreeve_crls_overdue', 'CRLs that should have been published.', publication.overdue),
  ];
}
