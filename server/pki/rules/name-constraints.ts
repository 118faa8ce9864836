import { subjectAttributes } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import {
  type Certificate,
  type DistinguishedName,
  type GeneralName,
  type NameConstraints,
  parseName,
} from '../../x509/x509.ts';
import { beginsWith } from './name-comparison.ts';
import {
  addressBytes,
  dnsFault,
  domainIn,
  isWildcard,
  shown,
  splitMailbox,
  uriHost,
} from './name-syntax.ts';

const nameConstraintsOid = '2.5.29.30';
// IPv4 inside IPv6 (RFC 4291, section 2.5.5.2).
const mappedPrefix = Buffer.from('00000000000000000000ffff', 'hex');

/** All that a certificate says of who it is for. */
export interface Certified {
  readonly subject: DistinguishedName;
  readonly names: readonly GeneralName[];
}

/** Whether permitted names are looked for, or excluded ones: the latter are matched generously. */
type Side = 'permitted' | 'excluded';

/**
 * Holds names to the name constraints of every CA of a chain (RFC 5280, sections 4.2.1.10, 6.1 and
 * 7.1). Held to them are the alternative names, the subject (constraints on directory names), its
 * mail addresses, and a common name that looks like a DNS name where no DNS name stands beside it,
 * since clients take it for one. Where readings differ, the stricter one counts: a wildcard that
 * covers an excluded name is excluded, a constraint of a kind that is not understood refuses
 * everything. Error: `subject-not-allowed`.
 */
export function checkNames(certified: Certified, chain: readonly Certificate[]): void {
  const constrained = chain.filter((certificate) =>
    certificate.rawExtensions.some(({ oid }) => oid === nameConstraintsOid),
  );
  if (constrained.length === 0) return;
  const names = namesOf(certified);
  for (const authority of constrained) checkAgainst(names, certified.subject, authority);
}

/**
 * Refuses constraints for a new CA that this code could not hold names to later. Error:
 * `subject-not-allowed`.
 */
export function checkConstraints({ permitted, excluded }: NameConstraints): void {
  const unknown = [...permitted, ...excluded].find((constraint) => !isUnderstood(constraint));
  if (unknown === undefined) return;
  throw new KeyreeveError(
    'subject-not-allowed',
    `The name constraint ${shown(`${unknown.kind}:${unknown.value}`)} is not understood.`,
    {
      hint: 'Such as dns:example.org, ip:10.0.0.0/8, email:example.org, uri:.example.org, dn:O=x.',
    },
  );
}

function checkAgainst(
  names: readonly GeneralName[],
  subject: DistinguishedName,
  authority: Certificate,
): void {
  const { nameConstraints } = authority.extensions;
  const all = [...(nameConstraints?.permitted ?? []), ...(nameConstraints?.excluded ?? [])];
  const unknown = all.find((constraint) => !isUnderstood(constraint));
  if (nameConstraints === undefined || unknown !== undefined) {
    throw new KeyreeveError(
      'subject-not-allowed',
      'A CA above has a name constraint that is not understood, so nothing can be held to it.',
      { hint: 'Issue from a CA without it.' },
    );
  }
  for (const name of names) {
    const permitted = nameConstraints.permitted.filter(({ kind }) => kind === name.kind);
    const excluded = nameConstraints.excluded.filter(({ kind }) => kind === name.kind);
    const hit = excluded.find((constraint) => matches(name, subject, constraint, 'excluded'));
    if (hit !== undefined) throw outside(name, `excludes ${shown(`${hit.kind}:${hit.value}`)}`);
    if (
      permitted.length > 0 &&
      !permitted.some((constraint) => matches(name, subject, constraint, 'permitted'))
    ) {
      const list = permitted.map(({ kind, value }) => `${kind}:${value}`).join(', ');
      throw outside(name, `permits ${shown(list)} alone`);
    }
  }
}

/** The alternative names and what in the subject is held to constraints; the subject as `dn`. */
function namesOf({ subject, names }: Certified): readonly GeneralName[] {
  const all: GeneralName[] = [...names];
  const attributes = subject.flat();
  const hasDomain = names.some(({ kind }) => kind === 'dns');
  for (const { type, value } of attributes) {
    if (type === subjectAttributes.emailAddress) all.push({ kind: 'email', value });
    const domain = type === subjectAttributes.CN && !hasDomain ? domainIn(value) : undefined;
    if (domain !== undefined) all.push({ kind: 'dns', value: domain });
  }
  if (attributes.length > 0) all.push({ kind: 'dn', value: '' });
  return all;
}

function isDomain(constraint: string): boolean {
  return dnsFault(withoutDot(constraint.toLowerCase())) === undefined;
}

/** Whether the constraint is one that this code can hold names to. */
function isUnderstood({ kind, value }: GeneralName): boolean {
  switch (kind) {
    case 'dns':
      return value === '' || isDomain(value);
    case 'ip':
      return parseNetwork(value) !== undefined;
    case 'email':
      return value === '' || splitMailbox(value) !== undefined || isDomain(value);
    case 'uri':
      return value === '' || isDomain(value);
    case 'dn':
      return parsedName(value) !== undefined;
    default:
      return false;
  }
}

/** `constraint` is understood and of the kind of `name`; `dn` means the subject. */
function matches(
  name: GeneralName,
  subject: DistinguishedName,
  constraint: GeneralName,
  side: Side,
): boolean {
  switch (name.kind) {
    case 'dns':
      return matchesDomain(name.value.toLowerCase(), constraint.value.toLowerCase(), side);
    case 'ip':
      return matchesNetwork(name.value, constraint.value, side);
    case 'email':
      return matchesMailbox(name.value, constraint.value, side);
    case 'uri':
      return matchesUri(name.value, constraint.value.toLowerCase(), side);
    case 'dn':
      return matchesName(name.value === '' ? subject : parsedName(name.value), constraint.value);
    default:
      // No constraint is of the kind `other` once all of them are understood.
      return side === 'excluded';
  }
}

/**
 * Zero or more labels to the left (RFC 5280, section 4.2.1.10). With a leading dot, which the
 * standard does not know for DNS names, most readers ask for one label at least.
 */
function matchesDomain(name: string, constraint: string, side: Side): boolean {
  const base = withoutDot(constraint);
  if (base === '' || name.endsWith(`.${base}`)) return true;
  if (side === 'permitted') return name === constraint;
  if (name === base) return true;
  // `*.example.org` stands for every name with one label more, the excluded one among them.
  return isWildcard(name) && base.slice(base.indexOf('.') + 1) === name.slice(2);
}

function matchesNetwork(name: string, constraint: string, side: Side): boolean {
  const network = parseNetwork(constraint);
  let address = addressBytes(name);
  if (network === undefined || address === undefined) return side === 'excluded';
  if (address.length !== network.address.length) {
    const isMapped = address.length === 16 && address.subarray(0, 12).equals(mappedPrefix);
    if (side === 'permitted' || !isMapped) return false;
    address = address.subarray(12);
  }
  for (let bit = 0; bit < network.prefixBits; bit++) {
    const mask = 0x80 >> (bit & 7);
    if (((address[bit >> 3]! ^ network.address[bit >> 3]!) & mask) !== 0) return false;
  }
  return true;
}

/** A mailbox, all mailboxes of a host, or (with a leading dot) of the hosts below a domain. */
function matchesMailbox(name: string, constraint: string, side: Side): boolean {
  const mailbox = splitMailbox(name);
  // What cannot be read is outside of all that is permitted and inside of what is excluded.
  if (mailbox === undefined) return side === 'excluded';
  const wanted = splitMailbox(constraint);
  if (wanted === undefined) return matchesHost(mailbox.host, constraint.toLowerCase());
  if (mailbox.host !== wanted.host) return false;
  if (mailbox.local === wanted.local) return true;
  // Mail servers do not tell case apart, whatever RFC 5321 lets them do.
  return side === 'excluded' && mailbox.local.toLowerCase() === wanted.local.toLowerCase();
}

/** Without a host, or with an address in its place, a URI is refused (section 4.2.1.10). */
function matchesUri(name: string, constraint: string, side: Side): boolean {
  const host = uriHost(name);
  if (host === undefined || host === null || dnsFault(host) !== undefined) {
    return side === 'excluded';
  }
  return matchesHost(host, constraint);
}

function matchesHost(host: string, constraint: string): boolean {
  if (constraint === '') return true;
  return constraint.startsWith('.') ? host.endsWith(constraint) : host === constraint;
}

/** The constraint's relative names are the first of the subject's (RFC 5280, section 7.1). */
function matchesName(subject: DistinguishedName | undefined, constraint: string): boolean {
  const base = parsedName(constraint);
  if (subject === undefined || base === undefined) return false;
  return beginsWith(subject, base);
}

function parsedName(text: string): DistinguishedName | undefined {
  try {
    return parseName(text);
  } catch {
    return undefined;
  }
}

function parseNetwork(text: string): { address: Buffer; prefixBits: number } | undefined {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = addressBytes(match?.[1] ?? '');
  const prefixBits = Number(match?.[2]);
  if (address === undefined || prefixBits > address.length * 8) return undefined;
  return { address, prefixBits };
}

function withoutDot(domain: string): string {
  return domain.startsWith('.') ? domain.slice(1) : domain;
}

function outside(name: GeneralName, reason: string): KeyreeveError {
  const what = name.value === '' ? 'The subject' : `The name ${name.kind}:${shown(name.value)}`;
  return new KeyreeveError('subject-not-allowed', `${what} is outside: a CA above ${reason}.`, {
    hint: 'The name constraints of the CA and of those above it decide (`ca show`, `ca chain`).',
    data: { check: 'name-constraints' },
  });
}
