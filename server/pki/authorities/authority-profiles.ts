import {
  builtInProfiles,
  type Profile,
  type SubjectAttribute,
  subjectAttributes,
} from '../../../api/profiles.ts';
import type { Certificate } from '../../x509/x509.ts';
import { crossProfileName } from './chains.ts';

const attributes = Object.keys(subjectAttributes) as SubjectAttribute[];

/** The profile of a new CA's certificate. */
export const rootProfile = builtIn('root');
export const intermediateProfile = builtIn('intermediate');

/**
 * The profile by which the certificate of a CA is followed by another: the name stays as it is, of
 * whatever attributes it consists, and so does what the old one narrows.
 */
export function successorProfile(base: Profile, { extensions }: Certificate): Profile {
  const { extendedKeyUsage, certificatePolicies } = extensions;
  return {
    ...base,
    subject: { allowed: attributes, required: [] },
    extendedKeyUsage: [...(extendedKeyUsage?.usages ?? [])],
    extendedKeyUsageCritical: extendedKeyUsage?.critical ?? false,
    policies: [...(certificatePolicies ?? [])],
  };
}

/** The profile by which the versions of a root certify each other (RFC 4210, section 4.4). */
export function crossProfile(certificate: Certificate): Profile {
  return {
    ...successorProfile(rootProfile, certificate),
    name: crossProfileName,
    title: 'Cross certificate',
    what: 'Leads from one key of a root to another one.',
  };
}

function builtIn(name: string): Profile {
  return builtInProfiles.find((profile) => profile.name === name)!;
}
