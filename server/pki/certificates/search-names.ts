import { isIP } from 'node:net';
import { KeyreeveError } from '../../base/errors.ts';
import { type GeneralName, parseGeneralName } from '../../x509/x509.ts';
import { searchTerm, turned } from '../certificate-record.ts';

/** A range of search terms: from `first` up to but without `end`; one term where there is no end. */
export interface TermRange {
  readonly first: string;
  readonly end?: string;
}

/**
 * What a person searches by, as terms: a name as it stands in the certificate, with or without its
 * kind (`dns:www.example.org`, `www.example.org`), or `.example.org` for all below a domain. Error:
 * `invalid-request`.
 */
export function termsOf(text: string): TermRange {
  const below = /^(?:dns:)?\.(.+)$/.exec(text);
  if (below !== null) {
    const domain = turned(nameOf(`dns:${below[1]}`).value);
    // '/' follows '.': all that goes on after the domain's own labels.
    return { first: `dns:${domain}.`, end: `dns:${domain}/` };
  }
  return { first: searchTerm(nameOf(withKind(text))) };
}

function withKind(text: string): string {
  if (/^(dns|ip|email|uri|dn):/.test(text)) return text;
  if (isIP(text) !== 0) return `ip:${text}`;
  if (text.includes('://')) return `uri:${text}`;
  return text.includes('@') ? `email:${text}` : `dns:${text}`;
}

function nameOf(text: string): GeneralName {
  try {
    return parseGeneralName(text);
  } catch (cause) {
    throw new KeyreeveError('invalid-request', `"${text}" is not a name to search by.`, {
      hint: 'Write it as dns:www.example.org, ip:192.0.2.1, email:ada@example.org, uri:... or .example.org',
      cause,
    });
  }
}
