import { domainToASCII } from 'node:url';
import type { GeneralNameKind, Profile, SubjectAttribute } from '../../../api/profiles.ts';
import { subjectAttributes } from '../../../api/profiles.ts';
import { namesMax } from '../../../api/routes/certificates.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { DistinguishedName, GeneralName } from '../../x509/x509.ts';
import { attributeFault, attributeName, mayRepeat } from './attribute-bounds.ts';
import type { Certified } from './name-constraints.ts';
import {
  dnsFault,
  domainIn,
  isWildcard,
  normalAddress,
  normalName,
  refusedName,
  shown,
} from './name-syntax.ts';
import type { Wanted } from './plan-types.ts';

/**
 * Subject and names as they go into the certificate: held to the profile, in one spelling, each
 * name once. Error: `subject-not-allowed`.
 */
export function planNames(profile: Profile, wanted: Pick<Wanted, 'subject' | 'names'>): Certified {
  checkSubject(profile, wanted.subject);
  if (wanted.names.length > namesMax) {
    throw refused(
      `There are ${wanted.names.length} names, more than ${namesMax}.`,
      'Ask for several certificates.',
    );
  }
  const names = uniqueNames(wanted.names.map((name) => planName(profile, name)));
  const certified = profile.names.commonNameIsName
    ? withCommonName(profile, wanted.subject, names)
    : { subject: wanted.subject, names };
  if (certified.names.length > 0) return certified;
  if (profile.names.required) {
    throw refused(
      `A certificate of the profile ${profile.name} needs a name (${kinds(profile)}).`,
      'Put it into the request as a subject alternative name, or give it with the request.',
    );
  }
  if (wanted.subject.length === 0) {
    throw refused(
      'There is neither a subject nor a name.',
      'A certificate has to say who it is for.',
    );
  }
  return certified;
}

/** Attributes that the profile takes, each well-formed, the required ones there. */
function checkSubject(profile: Profile, subject: DistinguishedName): void {
  const seen = new Set<SubjectAttribute>();
  for (const part of subject) {
    if (part.length === 0) throw refused('The subject has a relative name without attributes.');
    for (const { type, value } of part) {
      const name = attributeName(type);
      if (name === undefined || !profile.subject.allowed.includes(name)) {
        throw refused(
          `The subject has ${name ?? `the attribute ${shown(type)}`}, which the profile ` +
            `${profile.name} does not take.`,
          `It takes ${profile.subject.allowed.join(', ') || 'no subject at all'}.`,
        );
      }
      const fault = attributeFault(name, value);
      if (fault !== undefined) throw refused(`${name} of the subject ${fault}.`);
      if (seen.has(name) && !mayRepeat(name)) throw refused(`The subject has ${name} twice.`);
      seen.add(name);
    }
  }
  // RFC 5280, section 4.1.2.6: what names the CA in everything it issues.
  if (profile.isAuthority && subject.length === 0) throw refused('A CA has to have a subject.');
  const missing = profile.subject.required.filter((name) => !seen.has(name));
  if (missing.length > 0) {
    throw refused(
      `The subject lacks ${missing.join(', ')}, which the profile ${profile.name} requires.`,
    );
  }
}

function planName(profile: Profile, name: GeneralName): GeneralName {
  if (!profile.names.allowed.includes(name.kind as GeneralNameKind)) {
    const list = kinds(profile);
    throw refusedName(
      name,
      `is refused: the profile ${profile.name} takes ${list === '' ? 'no names' : list}`,
    );
  }
  const normal = normalName(name);
  if (normal.kind === 'dns' && isWildcard(normal.value) && !profile.names.wildcards) {
    throw refusedName(normal, `is a wildcard, which the profile ${profile.name} does not take`);
  }
  return normal;
}

/**
 * A common name that clients could take for a DNS name or an address has to be one of the names,
 * and stands in the subject in the same spelling (Baseline Requirements, section 7.1.4.3). Where
 * there are no names at all, it is the name: what `openssl req -subj /CN=...` asks for. A text of
 * one label is then taken for a host; beside other names it is just a text.
 */
function withCommonName(
  profile: Profile,
  subject: DistinguishedName,
  names: readonly GeneralName[],
): Certified {
  const commonName = subject.flat().find(({ type }) => type === subjectAttributes.CN)?.value;
  if (commonName === undefined) return { subject, names };
  // As most requests have it; it is spelled as the name is, which has been looked at.
  if (names.some(({ kind, value }) => kind === 'dns' && value === commonName)) {
    return { subject, names };
  }
  const name = nameIn(commonName, names.length === 0);
  if (name === undefined) return { subject, names };
  const all = names.length === 0 ? [planName(profile, name)] : names;
  const spelled = all.find(({ kind, value }) => kind === name.kind && value === name.value);
  if (spelled === undefined) {
    throw refused(
      `The common name ${shown(commonName)} looks like a name but is none of the certificate's.`,
      'Add it to the names, or leave it out of the subject.',
    );
  }
  return { subject: respelled(subject, spelled.value), names: all };
}

/** The name that a common name reads as. */
function nameIn(commonName: string, takesSingleLabel: boolean): GeneralName | undefined {
  const address = normalAddress(commonName);
  if (address !== undefined) return { kind: 'ip', value: address };
  const domain = domainIn(commonName);
  if (domain !== undefined) return { kind: 'dns', value: domain };
  const label = (domainToASCII(commonName) || commonName).toLowerCase();
  return takesSingleLabel && dnsFault(label) === undefined
    ? { kind: 'dns', value: label }
    : undefined;
}

function respelled(subject: DistinguishedName, commonName: string): DistinguishedName {
  return subject.map((part) =>
    part.map(({ type, value }) => ({
      type,
      value: type === subjectAttributes.CN ? commonName : value,
    })),
  );
}

function uniqueNames(names: readonly GeneralName[]): readonly GeneralName[] {
  return [...new Map(names.map((name) => [`${name.kind}:${name.value}`, name])).values()];
}

function kinds(profile: Profile): string {
  return profile.names.allowed.join(', ');
}

function refused(message: string, hint?: string): KeyreeveError {
  return new KeyreeveError('subject-not-allowed', message, hint === undefined ? {} : { hint });
}
