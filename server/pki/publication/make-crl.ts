import { setImmediate } from 'node:timers/promises';
import type { SchemeName } from '../../../api/algorithms.ts';
import { isAllowed, type KeyState } from '../../../api/states.ts';
import type { Clock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { effectiveState, requireUsable, type VersionRecord } from '../../keys/keys.ts';
import {
  assembleSigned,
  encodeRevokedEntries,
  encodeTbsCrl,
  keyIdentifier,
  verifySigned,
} from '../../x509/x509.ts';
import { versionScheme } from '../authorities/authorities.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';
import type { Crl, CrlState, CrlStore } from './crl-store.ts';
import { neverMilliseconds, nextDueAt, nextUpdateAt, thisUpdateAt } from './crl-timing.ts';

/** Signs by a version of a CA's key, off the event loop. */
export type SignByVersion = (
  version: VersionRecord,
  scheme: SchemeName,
  data: Buffer,
) => Promise<Buffer>;

export interface CrlMaking {
  readonly store: CrlStore;
  readonly sign: SignByVersion;
  readonly clock: Clock;
}

/** A CRL that is signed and has no row yet. */
export interface MadeCrl {
  readonly crl: Crl;
  /** Null where it is the last one of its version. */
  readonly dueAt: number | null;
}

/** The version's key, if it may sign CRLs now. Errors: `state-not-allowed` and those of a key that is gone. */
export function requireSigning(
  authority: Authority,
  { version }: AuthorityVersion,
  now: number,
): VersionRecord {
  const { key } = authority;
  const record = key.versions.find((candidate) => candidate.version === version);
  if (record === undefined) throw new TypeError('a certificate of a version that is not there');
  const state = effectiveState(record, now);
  if (state === 'destroyed') {
    throw new KeyreeveError('key-destroyed', `${key.name}@${version} is destroyed.`);
  }
  requireUsable(key, 'sign-crl');
  if (isAllowed(key.purpose, 'sign-crl', state)) return record;
  throw new KeyreeveError(
    'state-not-allowed',
    `${key.name}@${version} is ${state}: it signs no CRLs meanwhile.`,
    { hint: `Look at: keyreeve key show ${key.name}` },
  );
}

/**
 * Makes the next CRL of a version (RFC 5280, section 5): reads what its CA has revoked page by page, so
 * that others have their turn, signs it, and holds the signature against the CA's certificate.
 * Nothing is stored.
 */
export async function makeCrl(
  { store, sign, clock }: CrlMaking,
  authority: Authority,
  version: AuthorityVersion,
  state: CrlState,
): Promise<MadeCrl> {
  const key = requireSigning(authority, version, clock.now());
  const named = { caId: authority.key.id, version: version.version };
  const before = await store.newest(named);
  const thisUpdate = thisUpdateAt(clock.now(), before?.thisUpdate);
  // Others follow for as long as it issues, and until what it has issued has ended.
  const isLast =
    !issues(authority, version, thisUpdate) && !(await store.hasLiving(named, thisUpdate));
  const nextUpdate =
    isLast && isOver(authority, version, thisUpdate)
      ? neverMilliseconds
      : nextUpdateAt(thisUpdate, authority.settings);

  let entries = 0;
  const pages: Buffer[] = [];
  for await (const page of store.entries(named.caId, before?.thisUpdate ?? 0)) {
    pages.push(encodeRevokedEntries(page));
    entries += page.length;
    await setImmediate();
  }
  const { certificate } = version;
  const scheme = versionScheme(authority.key, key);
  const number = state.number + 1;
  const tbs = encodeTbsCrl(
    {
      scheme,
      issuer: certificate.subject,
      thisUpdate,
      nextUpdate,
      authorityKeyId: certificate.extensions.subjectKeyId ?? keyIdentifier(certificate.spki),
      number: BigInt(number),
    },
    pages,
  );
  const signature = await sign(key, scheme, tbs);
  if (!(await verifySigned({ tbs, scheme, signature }, certificate.spki))) {
    throw new KeyreeveError(
      'integrity-failed',
      `The signature of ${authority.key.name}@${version.version} does not verify by its certificate.`,
      { hint: 'Look at the keystore that holds the key.' },
    );
  }
  const der = assembleSigned(tbs, scheme, signature);
  return {
    crl: { ...named, number, thisUpdate, nextUpdate, entries, der },
    dueAt: isLast ? null : nextDueAt(thisUpdate, authority.settings),
  };
}

/** Whether a version signs certificates, so that there always has to be a CRL of it. */
export function issues(
  { key, state }: Authority,
  { version, certificate }: AuthorityVersion,
  now: number,
): boolean {
  const record = key.versions.find((candidate) => candidate.version === version);
  if (record === undefined || state !== 'active') return false;
  return effectiveState(record, now) === 'active' && certificate.notAfter > now;
}

const finalStates: readonly KeyState[] = ['deactivated', 'compromised', 'destroyed'];

/**
 * Whether the CA will never revoke anything again, but for what this version says now. Only then a
 * CRL may be without an end: those who check by the name of the issuer would take it for ever, in
 * place of those of a younger key.
 */
function isOver({ key, versions }: Authority, own: AuthorityVersion, now: number): boolean {
  return (
    key.versions.every((version) => finalStates.includes(effectiveState(version, now))) &&
    versions.every((other) => other.version === own.version || other.crlDueAt === null)
  );
}
