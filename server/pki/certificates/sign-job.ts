import type { Profile } from '../../../api/profiles.ts';
import { isAllowed } from '../../../api/states.ts';
import { KeyreeveError } from '../../base/errors.ts';
import {
  effectiveState,
  findVersion,
  type KeyRecord,
  requireUsable,
  type VersionRecord,
} from '../../keys/keys.ts';
import type { Certificate, CertificateFields } from '../../x509/x509.ts';
import type { Signing } from '../authorities/authorities.ts';
import { type CertificateRecord, serialText } from '../certificate-record.ts';
import type { Announced } from './lost-certificates.ts';
import type { CheckedKey } from './signing-checks.ts';

export type SignRequest = Parameters<Signing['sign']>[0] & {
  /** The issuer's certificate and those above it: none of them may be revoked. */
  readonly chain?: readonly Certificate[];
};
export type SelfSignRequest = Parameters<Signing['signSelf']>[0];

/** One signature that is asked for, whoever makes it. */
export interface Job {
  readonly issuerKey: KeyRecord;
  readonly issuerVersion: VersionRecord;
  /** The issuer's certificate; undefined for one that is signed by its own key. */
  readonly issuer: Certificate | undefined;
  readonly chain: readonly Certificate[];
  readonly profile: Profile;
  readonly fields: CertificateFields;
  readonly key: { readonly id: string; readonly version: number } | undefined;
  readonly createdBy: string;
}

/** A job whose bytes are fixed. */
export interface Drafted extends Job {
  readonly tbs: Buffer;
  readonly record: CertificateRecord;
}

export function authorityJob({ authority, version, chain, ...rest }: SignRequest): Job {
  return {
    ...rest,
    key: rest.key,
    issuerKey: authority.key,
    issuerVersion: findVersion(authority.key, version.version),
    issuer: version.certificate,
    chain: chain ?? [version.certificate],
  };
}

/** The state table is asked here too, whoever calls. */
export function requireSigner(key: KeyRecord, version: VersionRecord, now: number): void {
  requireUsable(key, 'sign-certificate');
  const state = effectiveState(version, now);
  if (isAllowed(key.purpose, 'sign-certificate', state)) return;
  throw new KeyreeveError(
    'state-not-allowed',
    `${key.name}@${version.version} is ${state}: it may not sign certificates.`,
    { hint: `Look at: keyreeve ca show ${key.name}` },
  );
}

export function checkedOf({ record: { row }, profile }: Drafted): CheckedKey {
  return {
    fingerprint: row.key_fingerprint!,
    subject: row.subject,
    exclusive: profile.exclusiveKey,
  };
}

export function announcedOf({
  issuerKey,
  issuerVersion,
  fields,
  tbs,
  profile,
  key,
  createdBy,
}: Drafted): Announced {
  return {
    caId: issuerKey.id,
    caVersion: issuerVersion.version,
    serial: serialText(fields.serial),
    tbs: tbs.toString('base64'),
    profile: profile.name,
    ...(key === undefined ? {} : { key }),
    createdBy,
  };
}

export function aboutIntent(announced: readonly Drafted[]) {
  const [first] = announced;
  return announced.length === 1
    ? { resource: `certificate ${serialText(first!.fields.serial)}` }
    : { count: String(announced.length) };
}
