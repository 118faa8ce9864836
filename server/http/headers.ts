import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { breakGlassReasonLengthMax, breakGlassReasonLengthMin } from '../../api/approvals.ts';
import { KeyreeveError } from '../base/errors.ts';
import { isId, newId } from '../base/ids.ts';
import {
  agentLengthMax,
  bearerLengthMax,
  correlationIdLengthMax,
  idempotencyKeyLengthMax,
} from './limits.ts';
import { clientCertificateOf } from './tls.ts';

const correlationPattern = new RegExp(
  `^[A-Za-z0-9][A-Za-z0-9._:-]{0,${correlationIdLengthMax - 1}}$`,
);
/** Version, trace id, parent id, flags (W3C Trace Context, section 3.2). */
const traceparentPattern = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
/** token68 (RFC 9110, section 11.2); the name of the scheme in any case. */
const bearerPattern = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;
const idempotencyPattern = new RegExp(`^[\\x21-\\x7e]{1,${idempotencyKeyLengthMax}}$`);
const printablePattern = /^[\x20-\x7e]*$/;

/**
 * What ties together everything that one request caused: the caller's own id where it is well
 * formed (`X-Correlation-Id`, or the trace id of `traceparent`), else a new one.
 */
export function correlationIdOf(headers: IncomingHttpHeaders): string {
  const given = headers['x-correlation-id'];
  if (typeof given === 'string' && correlationPattern.test(given)) return given;
  const trace = headers.traceparent;
  if (typeof trace === 'string') {
    const found = traceparentPattern.exec(trace);
    if (found !== null) return found[1]!;
  }
  return newId('req');
}

/**
 * What the request proves who calls by: its token, else the client certificate of its connection.
 * With a token the certificate is not even looked at. Errors: `unauthenticated` where there is
 * neither, and where the header holds no token; `forbidden` for a certificate that a browser shows
 * on behalf of another site.
 */
export function credentialOf({ headers, socket }: IncomingMessage) {
  const certificate = headers.authorization === undefined ? clientCertificateOf(socket) : undefined;
  const bearer = certificate === undefined ? bearerOf(headers) : undefined;
  if (certificate !== undefined) refuseOtherSites(headers);
  return { bearer, certificate };
}

/**
 * A browser shows its certificate whichever page makes it call, and without asking: pages of other
 * sites would act in the name of whoever looks at them. Programs send neither header (Fetch Metadata,
 * section 2.4; RFC 6454, section 7).
 */
function refuseOtherSites(headers: IncomingHttpHeaders): void {
  const { origin, host, 'sec-fetch-site': site = 'none' } = headers;
  const isOwnSite = site === 'none' || site === 'same-origin';
  const isOwnOrigin = origin === undefined || URL.parse(origin)?.host === host;
  if (isOwnSite && isOwnOrigin) return;
  throw new KeyreeveError(
    'forbidden',
    'A page of another site called with the client certificate of the browser.',
    { hint: 'Call from a program, or send a token.' },
  );
}

/** The token of `Authorization: Bearer`, the only place it is taken from (RFC 6750, section 2.1). */
export function bearerOf(headers: IncomingHttpHeaders): string {
  const { authorization } = headers;
  if (authorization === undefined) {
    throw new KeyreeveError('unauthenticated', 'This needs a token, and none came.', {
      hint: 'Send it as "Authorization: Bearer …"; "keyreeve login" gets one.',
    });
  }
  const found =
    authorization.length <= bearerLengthMax + 10 ? bearerPattern.exec(authorization) : null;
  if (found === null || found[1]!.length > bearerLengthMax) {
    throw new KeyreeveError('unauthenticated', 'The Authorization header holds no bearer token.', {
      hint: 'Send the token as "Authorization: Bearer …".',
    });
  }
  return found[1]!;
}

/** The name that the calling program gives itself, cut and made printable for the record. */
export function agentOf(headers: IncomingHttpHeaders): string {
  const agent = (headers['user-agent'] ?? '').slice(0, agentLengthMax);
  return printablePattern.test(agent) ? agent : agent.replace(/[^\x20-\x7e]/g, '?');
}

/** The peer of the connection; headers of proxies are not looked at. */
export function addressOf(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return 'unknown';
  return remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress;
}

/** `Keyreeve-Approval` of a command: the approval that the caller means. Error: `invalid-request`. */
export function approvalIdOf(headers: IncomingHttpHeaders): string | undefined {
  const id = headers['keyreeve-approval'];
  if (id === undefined || (typeof id === 'string' && isId(id, 'apr'))) return id;
  throw new KeyreeveError('invalid-request', 'The Keyreeve-Approval header is not valid.', {
    hint: 'It is the id of an approval: apr_ and 26 letters and digits.',
  });
}

/**
 * `Keyreeve-Break-Glass` of a command: why it cannot wait, in UTF-8 with percent-encoding where it
 * is not ASCII. Error: `invalid-request`.
 */
export function breakGlassOf(headers: IncomingHttpHeaders): string | undefined {
  const text = headers['keyreeve-break-glass'];
  if (text === undefined) return undefined;
  const reason = typeof text === 'string' ? decoded(text).trim() : '';
  const isLong = reason.length >= breakGlassReasonLengthMin;
  if (isLong && reason.length <= breakGlassReasonLengthMax && /^[^\p{Cc}\p{Cs}]*$/u.test(reason)) {
    return reason;
  }
  throw new KeyreeveError('invalid-request', 'The Keyreeve-Break-Glass header is not valid.', {
    hint: `It says why, in ${breakGlassReasonLengthMin} to ${breakGlassReasonLengthMax} characters of one line.`,
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** `Idempotency-Key` of a command. Error: `invalid-request`. */
export function idempotencyKeyOf(headers: IncomingHttpHeaders): string | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && idempotencyPattern.test(key)) return key;
  throw new KeyreeveError('invalid-request', 'The Idempotency-Key header is not valid.', {
    hint: `It has 1 to ${idempotencyKeyLengthMax} visible ASCII characters.`,
  });
}
