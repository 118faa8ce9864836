/** What a profile keeps of the records that it verified. */
import { createHash, createPublicKey } from 'node:crypto';
import type { Tools } from '../act.ts';
import { type RememberedRecord, readProfile, writeProfile } from '../profile.ts';
import type { Session } from '../session.ts';

/**
 * The profile is read again: while the service verified, another command may have logged in or out,
 * or remembered more than this one saw.
 */
export function rememberIn(tools: Tools, session: Session, record: RememberedRecord): void {
  const profile = readProfile(tools.context);
  if (profile === undefined || profile.url !== session.url) return;
  const id = serviceId(session);
  const now = profile.records[id];
  if (now !== undefined && now.origin === record.origin && now.size > record.size) return;
  writeProfile(tools.context, { ...profile, records: { ...profile.records, [id]: record } });
}

/** What this profile saw of the record of the service when it last verified it. */
export function rememberedOf(session: Session): RememberedRecord | undefined {
  return session.isOfProfile ? session.profile?.records[serviceId(session)] : undefined;
}

/** By what a service is known: the key of its CA, or its address where the system trusts that. */
function serviceId(session: Session): string {
  if (session.caPem === undefined) return session.url;
  const spki = createPublicKey(session.caPem).export({ format: 'der', type: 'spki' });
  return createHash('sha256').update(spki).digest('hex');
}
