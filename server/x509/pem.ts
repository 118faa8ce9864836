import type { ErrorCode } from '../../api/error-codes.ts';
import { KeyreeveError } from '../base/errors.ts';
import { pemText } from '../base/pem.ts';
import { pemBlocksMaximum, pemLengthMaximum, requestTextLengthMaximum } from './limits.ts';
import type { CertificateRequest } from './model.ts';
import { parseRequest } from './request.ts';

export interface PemLimits {
  /** Characters of the whole text. */
  readonly lengthMaximum?: number;
  readonly blocksMaximum?: number;
}

const begin = '-----BEGIN ';
const dashes = '-----';
const requestLabels = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'] as const;
const codes: Readonly<Record<string, ErrorCode>> = {
  [requestLabels[0]]: 'request-malformed',
  [requestLabels[1]]: 'request-malformed',
  'X509 CRL': 'crl-malformed',
};

/**
 * The contents of all blocks of this label, at least one (RFC 7468). What stands between blocks, as
 * openssl writes it there, and blocks of other labels are passed over. Error: by the label
 * `request-malformed`, `crl-malformed`, otherwise `certificate-malformed`.
 */
export function decodePem(text: string, label: string, limits: PemLimits = {}): Buffer[] {
  const refuse = (message: string) =>
    new KeyreeveError(codes[label] ?? 'certificate-malformed', message, {
      hint: `Give PEM that begins with ${begin}${label}${dashes}.`,
    });
  if (text.length > (limits.lengthMaximum ?? pemLengthMaximum))
    throw refuse('The PEM is too long.');
  const blocksMaximum = limits.blocksMaximum ?? pemBlocksMaximum;
  const first = `${begin}${label}${dashes}`;
  const last = `-----END ${label}${dashes}`;
  const blocks: Buffer[] = [];
  for (let start = text.indexOf(first); start !== -1; start = text.indexOf(first, start)) {
    if (blocks.length === blocksMaximum) throw refuse('There are too many blocks of PEM in it.');
    const end = text.indexOf(last, start);
    if (end === -1) throw refuse(`A block of PEM has no end ("${last}").`);
    const content = decodeBase64(text.slice(start + first.length, end));
    if (content === undefined) throw refuse('A block of PEM is not base64.');
    blocks.push(content);
    start = end + last.length;
  }
  if (blocks.length === 0) throw refuse(`There is no block of PEM labelled "${label}" in it.`);
  return blocks;
}

/** The request in a text: one block of PEM, or DER in base64. Error: `request-malformed`. */
export function requestFromText(text: string): CertificateRequest {
  const label = requestLabels.find((known) => text.includes(`${begin}${known}${dashes}`));
  if (label !== undefined || text.includes(begin)) {
    const blocks = decodePem(text, label ?? requestLabels[0], {
      lengthMaximum: requestTextLengthMaximum,
    });
    if (blocks.length === 1) return parseRequest(blocks[0]!);
    throw new KeyreeveError('request-malformed', 'There is more than one request in the PEM.');
  }
  const der = text.length <= requestTextLengthMaximum ? decodeBase64(text) : undefined;
  if (der !== undefined && der.length > 0) return parseRequest(der);
  throw new KeyreeveError('request-malformed', 'The request is neither PEM nor DER in base64.', {
    hint: 'Make one with: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes',
  });
}

/** A certificate as PEM. */
export function certificatePem(der: Uint8Array): string {
  return pemText('CERTIFICATE', der);
}

// Buffer.from passes over what is not base64, so its result is held against the input.
function decodeBase64(text: string): Buffer | undefined {
  const compact = text.replace(/[ \t\r\n]/g, '');
  const bytes = Buffer.from(compact, 'base64');
  return bytes.toString('base64') === compact ? bytes : undefined;
}
