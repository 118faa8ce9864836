import { domainToASCII } from 'node:url';
import { addressBytes, addressText, networkBytes, networkText } from './addresses.ts';
import { nameNotAllowed } from './malformed.ts';
import type { GeneralName } from './model.ts';
import { formatName, parseName } from './name-text.ts';

const textLengthMaximum = 2048;
/** RFC 1035, section 2.3.4, without the byte of the root. */
const hostLengthMaximum = 253;
const emailLengthMaximum = 254;
const labelPattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
// RFC 5321, section 4.1.2: a Dot-string.
const localPartPattern =
  /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*$/;
const printableAsciiPattern = /^[\x21-\x7e]+$/;

const kindsHint =
  'Write the kind before the name: dns:www.example.org, ip:192.0.2.1, email:, uri: or dn:.';

type Kind = Exclude<GeneralName['kind'], 'other'>;

/**
 * Reads a name as people write it: `dns:www.example.org`, `ip:192.0.2.1`, `email:`, `uri:`, `dn:`.
 * Names outside ASCII become A-labels (RFC 5890); DNS names and domains come out in lower case.
 * Error: `subject-not-allowed`.
 */
export function parseGeneralName(text: string): GeneralName {
  const { kind, value } = splitKind(text);
  switch (kind) {
    case 'dns':
      return { kind, value: dnsName(value) };
    case 'ip':
      return { kind, value: required(value, canonicalAddress(value), 'an IP address') };
    case 'email':
      return { kind, value: mailbox(value) };
    case 'uri':
      return { kind, value: required(value, canonicalUri(value), 'an absolute URI') };
    case 'dn':
      return { kind, value: formatName(parseName(value)) };
  }
}

/**
 * Reads a name constraint (RFC 5280, section 4.2.1.10): `ip:10.0.0.0/8`, `dns:example.org`,
 * `dns:.example.org`, `email:` with a mailbox, a host or `.domain`, `uri:` with a host or `.domain`,
 * `dn:`. Nothing behind the colon of dns, email, uri and dn stands for all names of the kind. Error:
 * `subject-not-allowed`.
 */
export function parseConstraint(text: string): GeneralName {
  const { kind, value } = splitKind(text);
  switch (kind) {
    case 'dns':
    case 'uri':
      return { kind, value: value === '' ? '' : domain(value) };
    case 'ip': {
      const network = networkBytes(value);
      const canonical = network === undefined ? undefined : networkText(network);
      return { kind, value: required(value, canonical, 'a network such as 10.0.0.0/8') };
    }
    case 'email':
      if (value === '') return { kind, value };
      return { kind, value: value.includes('@') ? mailbox(value) : domain(value) };
    case 'dn':
      return { kind, value: formatName(parseName(value)) };
  }
}

/** The name as `parseGeneralName` and `parseConstraint` read it. */
export function formatGeneralName({ kind, value }: GeneralName): string {
  return `${kind}:${value}`;
}

function splitKind(text: string): { kind: Kind; value: string } {
  const match = /^(dns|ip|email|uri|dn):(.*)$/isu.exec(text);
  if (match === null) throw nameNotAllowed('A name does not say of what kind it is.', kindsHint);
  const value = match[2]!.trim();
  if (value.length > textLengthMaximum) {
    throw nameNotAllowed(`A name is longer than ${textLengthMaximum} characters.`);
  }
  return { kind: match[1]!.toLowerCase() as Kind, value };
}

/** A DNS name; `*` may stand for its first label (RFC 9525, section 6.3). */
function dnsName(value: string): string {
  const isWildcard = value.startsWith('*.');
  const host = hostName(isWildcard ? value.slice(2) : value, 'a DNS name');
  return isWildcard ? `*.${host}` : host;
}

/** A domain of a constraint: a host, or all names below one. */
function domain(value: string): string {
  return value.startsWith('.')
    ? `.${hostName(value.slice(1), 'a domain')}`
    : hostName(value, 'a domain');
}

// RFC 5280, section 4.2.1.6: the preferred name syntax of RFC 1034, 3.5, as RFC 1123, 2.1 widens it.
function hostName(value: string, what: string): string {
  // Only other scripts go through IDNA: it would take 127.1 for an address.
  const ascii = /^\p{ASCII}*$/u.test(value) ? value.toLowerCase() : domainToASCII(value);
  const labels = ascii.split('.');
  const isHost =
    ascii.length <= hostLengthMaximum && labels.every((part) => labelPattern.test(part));
  // A last label of digits is no top-level domain but the end of an address (RFC 3696, section 2).
  if (!isHost || /^[0-9]+$/.test(labels.at(-1)!)) {
    throw nameNotAllowed(`${quote(value)} is not ${what}.`, hostHint(value));
  }
  return ascii;
}

function hostHint(value: string): string | undefined {
  if (addressBytes(value) !== undefined) return `Write ip:${value} for an IP address.`;
  return value.endsWith('.') ? 'Write it without the dot at its end.' : undefined;
}

function mailbox(value: string): string {
  const at = value.lastIndexOf('@');
  const local = value.slice(0, Math.max(at, 0));
  if (at === -1 || !localPartPattern.test(local) || local.length > 64) {
    throw nameNotAllowed(`${quote(value)} is not a mail address.`);
  }
  const address = `${local}@${hostName(value.slice(at + 1), 'the domain of a mail address')}`;
  if (address.length <= emailLengthMaximum) return address;
  throw nameNotAllowed(`A mail address is longer than ${emailLengthMaximum} characters.`);
}

function canonicalAddress(value: string): string | undefined {
  const bytes = addressBytes(value);
  return bytes === undefined ? undefined : addressText(bytes);
}

// An IRI becomes the URI that it stands for (RFC 3987, section 3.1); what is ASCII stays as it is.
function canonicalUri(value: string): string | undefined {
  if (/[\s\p{Cc}]/u.test(value) || !URL.canParse(value)) return undefined;
  const uri = printableAsciiPattern.test(value) ? value : new URL(value).href;
  return /^[A-Za-z][A-Za-z0-9+.-]*:./.test(uri) ? uri : undefined;
}

function required(value: string, canonical: string | undefined, what: string): string {
  if (canonical !== undefined) return canonical;
  throw nameNotAllowed(`${quote(value)} is not ${what}.`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
