/** One exchange over HTTPS, and what its failures mean. */
import type { IncomingMessage } from 'node:http';
import { type Agent, request } from 'node:https';
import { isKeyreeveError, KeyreeveError } from '../server/base/errors.ts';
import type { Failure } from './retry.ts';

/** The largest answer that is held in memory: a batch of a thousand results fits. */
export const answerBytesMax = 256 * 1024 * 1024;

export interface TransportRequest {
  readonly agent: Agent;
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** How long the service may be silent. */
  readonly timeoutMilliseconds: number;
  readonly signal: AbortSignal | undefined;
}

/** Sends a request; the head of the answer is there when it returns. */
export function send(prepared: TransportRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request(prepared.url, {
      agent: prepared.agent,
      method: prepared.method,
      headers: prepared.headers,
      timeout: prepared.timeoutMilliseconds,
      ...(prepared.signal === undefined ? {} : { signal: prepared.signal }),
    });
    outgoing.on('timeout', () => outgoing.destroy(new TimeoutError()));
    outgoing.on('error', reject);
    outgoing.on('response', resolve);
    outgoing.end(prepared.body);
  });
}

/** Reads an answer whole; it has to come within the time of the request. */
export async function collect(
  response: IncomingMessage,
  prepared: TransportRequest,
): Promise<Buffer> {
  const timer = setTimeout(
    () => response.destroy(new TimeoutError()),
    prepared.timeoutMilliseconds,
  );
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length > answerBytesMax) {
        throw new KeyreeveError('too-large', 'the answer of the service is too large');
      }
      pieces.push(piece);
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(pieces);
}

/** Says what a failed exchange was: an answer of the service, or a connection that failed. */
export function transportFailure(error: unknown, base: URL): Failure {
  if (isKeyreeveError(error)) return { error, connection: 'none' };
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (untrustedCodes.has(code) || code.startsWith('ERR_TLS_CERT')) {
    return { error: untrusted(base, error), connection: 'never-made' };
  }
  if (code.startsWith('ERR_SSL') || code === 'EPROTO') {
    return { error: notTls(base, error), connection: 'never-made' };
  }
  if ((error as Error).name === 'AbortError') {
    return {
      error: new KeyreeveError('unreachable', 'the call was given up', { cause: error }),
      connection: 'given-up',
    };
  }
  // A mistake of ours is not a failure of the network.
  if (code === '') throw error;
  if (neverMadeCodes.has(code)) {
    return { error: unreachable(base, code, error), connection: 'never-made' };
  }
  return { error: unreachable(base, code, error), connection: 'lost' };
}

class TimeoutError extends Error {
  readonly code = 'ETIMEDOUT';
}

/** With these nothing was sent. */
const neverMadeCodes = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ENOENT',
]);

/** What OpenSSL says of a chain that does not end at the trusted authority. */
const untrustedCodes = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'HOSTNAME_MISMATCH',
]);

function untrusted(base: URL, cause: unknown): KeyreeveError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const name = code === 'ERR_TLS_CERT_ALTNAME_INVALID';
  const why = name ? 'its certificate is for another name' : `${code ?? message}`;
  return new KeyreeveError('tls-untrusted', `${base.origin} cannot be trusted: ${why}`, {
    hint: name
      ? 'Use a name or address that the certificate holds, or add this one to the configuration of the service.'
      : 'Log in with a code made on its host (keyreeve login-code), or name its CA with --ca-file.',
    cause,
  });
}

function notTls(base: URL, cause: unknown): KeyreeveError {
  return new KeyreeveError('unreachable', `${base.origin} does not speak TLS 1.3`, {
    hint: 'Check the address and the port.',
    cause,
  });
}

function unreachable(base: URL, code: string, cause: unknown): KeyreeveError {
  const [why, hint] =
    code === 'ENOTFOUND' || code === 'EAI_AGAIN'
      ? ['the name is not known', 'Check --url or KEYREEVE_URL.']
      : code === 'ETIMEDOUT'
        ? ['no answer in time', 'Look at the log of the service.']
        : code === 'ECONNREFUSED'
          ? [
              'nothing listens there',
              'Is the service running? npm start. Or elsewhere? --url https://host:port',
            ]
          : ['the connection broke', 'Is the service running? Look at its log.'];
  return new KeyreeveError('unreachable', `${base.origin} does not answer: ${why}`, {
    hint,
    cause,
  });
}
