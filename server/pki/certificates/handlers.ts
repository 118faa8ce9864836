import type { Handlers } from '../../base/handler.ts';
import { createBlockedKeys } from './blocked-keys.ts';
import { createCertificateExport } from './certificate-export.ts';
import { createCertificateReads } from './certificate-reads.ts';
import type { Context } from './context.ts';
import { createIssuing } from './issue.ts';
import { createPurge } from './purge.ts';
import { createRevocation } from './revocation.ts';

export type CertificateHandlersOptions = Omit<Context, 'onRevoked'> &
  Partial<Pick<Context, 'onRevoked'>>;

type CertificateRoutes =
  | 'certificate.issue'
  | 'certificate.issue.batch'
  | 'certificate.list'
  | 'certificate.show'
  | 'certificate.export'
  | 'certificate.revoke'
  | 'certificate.release'
  | 'certificate.purge'
  | 'certificate.block-key'
  | 'certificate.blocked-keys'
  | 'certificate.unblock-key';

/** The API's routes of certificates. */
export function createCertificateHandlers(
  options: CertificateHandlersOptions,
): Handlers<CertificateRoutes> {
  const context: Context = { onRevoked: () => undefined, ...options };
  return {
    ...createIssuing(context),
    ...createCertificateReads(context),
    ...createCertificateExport(context),
    ...createRevocation(context),
    ...createPurge(context),
    ...createBlockedKeys(context),
  };
}
