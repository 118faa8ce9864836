import { isIP } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';
import { KeyreeveError } from '../../base/errors.ts';
import type { GeneralName } from '../../x509/x509.ts';

const dnsLengthMax = 253;
const mailLocalLengthMax = 64;
const mailLengthMax = 254;
export const uriLengthMax = 2000;

/** Labels below the `*` of a wildcard: `*.example.org` is allowed, `*.org` speaks for too many. */
const wildcardLabelsMin = 2;

const labelPattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
// RFC 5321, section 4.1.2: dot-string. Quoted strings are read differently by every program.
const localPattern = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/;
// RFC 3986, section 3: scheme, authority where there is one, the rest.
const uriPattern =
  /^[A-Za-z][A-Za-z0-9+.-]*:(?:\/\/([^/?#]*))?([A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]*)$/;
const percentPattern = /%(?![0-9A-Fa-f]{2})/;
// Host and port. User information would hide the host from some readers.
const authorityPattern = /^(\[[0-9A-Fa-f:.]+\]|[^[\]:]*)(?::[0-9]{0,5})?$/;

/** Why this is no DNS name, as the end of a sentence; undefined where it is one. */
export function dnsFault(name: string): string | undefined {
  if (name.length > dnsLengthMax) return `is longer than ${dnsLengthMax} characters`;
  const labels = name.split('.');
  for (const label of labels) {
    if (!labelPattern.test(label)) {
      return 'has a label that is not 1 to 63 letters, digits and inner hyphens';
    }
    // RFC 5890, section 2.3.1: `--` in third place is reserved, for A-labels so far.
    if (label.slice(2, 4) === '--' && !isALabel(label)) {
      return `has the label ${label}, which is no internationalised one`;
    }
  }
  // Browsers read hexadecimal numbers there too (WHATWG URL, "ends in a number").
  if (/^(?:[0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1)!)) {
    return 'ends in a number, as only addresses do';
  }
  return undefined;
}

/** As `dnsFault`, for a name that begins with `*.`. */
function wildcardFault(name: string): string | undefined {
  const below = name.slice(2);
  if (below.split('.').length < wildcardLabelsMin) {
    return 'is a wildcard over a whole top-level domain';
  }
  return name.length > dnsLengthMax ? dnsFault(name) : dnsFault(below);
}

export function isWildcard(name: string): boolean {
  return name.startsWith('*.');
}

/**
 * The domain that clients could take a text for, well-formed or not, since they differ in what they
 * take: in A-labels and lower case. Undefined where it is just a text.
 */
export function domainIn(text: string): string | undefined {
  if (!/^[^\s@/:]+\.[^\s@/:]+$/u.test(text)) return undefined;
  const prefix = isWildcard(text) ? '*.' : '';
  const bare = text.slice(prefix.length);
  return `${prefix}${domainToASCII(bare) || bare}`.toLowerCase();
}

/** RFC 5890, section 2.3.2.1: what turns into the same A-label on the way there and back. */
function isALabel(label: string): boolean {
  if (!label.startsWith('xn--')) return false;
  const unicode = domainToUnicode(label);
  return unicode !== '' && unicode !== label && domainToASCII(unicode) === label;
}

/** The one spelling of an address (RFC 5952 for IPv6); undefined where it is none. */
export function normalAddress(text: string): string | undefined {
  const family = isIP(text);
  if (family === 4) return text;
  if (family === 0 || text.includes('%')) return undefined;
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

/** The bytes of an address that `normalAddress` gives: 4 or 16. */
export function addressBytes(address: string): Buffer | undefined {
  const normal = normalAddress(address);
  if (normal === undefined) return undefined;
  if (!normal.includes(':')) return Buffer.from(normal.split('.').map(Number));
  const [head = '', tail] = normal.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => '0');
  const bytes = Buffer.alloc(16);
  for (const [index, group] of [...front, ...zeros, ...back].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  }
  return bytes;
}

/** A mailbox (RFC 5321, section 4.1.2) in its two parts, the host in lower case. */
export function splitMailbox(text: string): { local: string; host: string } | undefined {
  const at = text.lastIndexOf('@');
  if (at < 1 || text.length > mailLengthMax) return undefined;
  const local = text.slice(0, at);
  const host = text.slice(at + 1).toLowerCase();
  if (local.length > mailLocalLengthMax || !localPattern.test(local)) return undefined;
  return dnsFault(host) === undefined ? { local, host } : undefined;
}

/**
 * The host of a URI (RFC 3986), in lower case: null where it has none, as `urn:` has; undefined
 * where this is no absolute URI.
 */
export function uriHost(text: string): string | null | undefined {
  if (text.length > uriLengthMax || percentPattern.test(text)) return undefined;
  const match = uriPattern.exec(text);
  // Scheme and colon alone name nothing.
  if (match === null || text.endsWith(':')) return undefined;
  const authority = match[1];
  if (authority === undefined) return match[2]!.startsWith('//') ? undefined : null;
  const host = authorityPattern.exec(authority)?.[1]?.toLowerCase();
  if (host === undefined) return undefined;
  if (host === '') return null;
  const address = host.startsWith('[') ? host.slice(1, -1) : host;
  if (normalAddress(address) !== undefined) return host;
  return dnsFault(host) === undefined ? host : undefined;
}

/**
 * The name in the spelling that goes into certificates. Error: `subject-not-allowed` where it is
 * no well-formed name of its kind.
 */
export function normalName(name: GeneralName): GeneralName {
  const { kind, value } = name;
  switch (kind) {
    case 'dns': {
      const lower = value.toLowerCase();
      const fault = isWildcard(lower) ? wildcardFault(lower) : dnsFault(lower);
      if (fault !== undefined) throw refusedName(name, fault);
      return { kind, value: lower };
    }
    case 'ip': {
      const address = normalAddress(value);
      if (address === undefined) throw refusedName(name, 'is no address');
      return { kind, value: address };
    }
    case 'email': {
      const mailbox = splitMailbox(value);
      if (mailbox === undefined) throw refusedName(name, 'is no mail address (RFC 5321)');
      return { kind, value: `${mailbox.local}@${mailbox.host}` };
    }
    case 'uri':
      if (uriHost(value) === undefined) throw refusedName(name, 'is no absolute URI (RFC 3986)');
      return name;
    default:
      throw refusedName(name, 'is of a kind that certificates here do not carry');
  }
}

export function refusedName(name: GeneralName, fault: string): KeyreeveError {
  return new KeyreeveError('subject-not-allowed', `The name ${shownName(name)} ${fault}.`, {
    data: { name: shownName(name) },
  });
}

/** What strangers wrote, fit for a message: without controls and not too long. */
export function shown(text: string): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '\ufffd');
  return clean.length > 100 ? `${clean.slice(0, 100)}...` : clean;
}

function shownName({ kind, value }: GeneralName): string {
  return `${kind}:${shown(value)}`;
}
