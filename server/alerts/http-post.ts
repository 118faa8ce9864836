import { type ClientRequest, Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent, request } from 'node:https';
import { SendFailure, within } from './sender.ts';

export const sendTimeoutSeconds = 10;
/** How much of an answer is read; nobody needs it, but a connection is used again after it. */
const answerBytesMax = 16 * 1024;
const retryAfterSecondsMax = 300;

/** A connection to one receiver, kept between calls. */
export class HttpPost {
  readonly #url: URL;
  readonly #agent: Agent | PlainAgent;

  /** `ca`: PEM of the only CAs to trust; the system's where undefined. */
  constructor(url: URL, ca: string | undefined) {
    this.#url = url;
    const kept = { keepAlive: true, maxSockets: 1 };
    this.#agent =
      url.protocol === 'http:'
        ? new PlainAgent(kept)
        : new Agent({
            ...kept,
            // Whatever the environment says.
            rejectUnauthorized: true,
            minVersion: 'TLSv1.2',
            ...(ca === undefined ? {} : { ca }),
          });
  }

  /** Posts JSON; a status of 2xx is success. Redirects are not followed. */
  async post(
    body: Buffer,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void> {
    const limited = within(signal, sendTimeoutSeconds);
    try {
      await this.#attempt(body, headers, limited);
    } catch (error) {
      // The receiver may have closed an idle connection in the moment that it was used again.
      if (!(error instanceof StaleConnection)) throw inTime(error, limited);
      await this.#attempt(body, headers, limited).catch((second: unknown) => {
        throw inTime(second, limited);
      });
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #attempt(
    body: Buffer,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const options = {
        ...{ method: 'POST', agent: this.#agent, signal },
        headers: {
          'content-type': 'application/json',
          'content-length': String(body.length),
          'user-agent': 'keyreeve',
          ...headers,
        },
      };
      const send = this.#url.protocol === 'http:' ? plainRequest : request;
      const call: ClientRequest = send(this.#url, options, (answer) => {
        const { statusCode = 0, headers: answered } = answer;
        let bytes = 0;
        answer.on('data', (piece: Buffer) => {
          bytes += piece.length;
          if (bytes > answerBytesMax) answer.destroy();
        });
        answer.on('error', () => undefined);
        answer.on('close', () => {
          if (statusCode >= 200 && statusCode < 300) resolve();
          else reject(refused(statusCode, answered['retry-after']));
        });
      });
      // Else Node lets go of the connection and tells nobody: the queue would stand still for good.
      call.on('upgrade', ({ statusCode = 0 }, socket) => {
        socket.destroy();
        reject(refused(statusCode, undefined));
      });
      // Whatever else a receiver comes up with ends in time; what is settled by then stays so.
      const late = () => setImmediate(reject, new SendFailure('it did not answer in time'));
      signal.addEventListener('abort', late, { once: true });
      call.on('error', (error) => {
        const { code } = error as NodeJS.ErrnoException;
        const isStale = call.reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE');
        reject(isStale ? new StaleConnection(error.message) : error);
      });
      call.end(body);
    });
  }
}

class StaleConnection extends Error {}

function refused(status: number, retryAfter: string | undefined): SendFailure {
  const seconds = /^[0-9]{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) : undefined;
  const isRedirect = status >= 300 && status < 400;
  const message = isRedirect
    ? `it answered ${status}: redirects are not followed`
    : `it answered ${status}`;
  return new SendFailure(
    message,
    seconds === undefined ? undefined : Math.min(seconds, retryAfterSecondsMax),
  );
}

function inTime(error: unknown, signal: AbortSignal): unknown {
  if (!signal.aborted || error instanceof SendFailure) return error;
  return new SendFailure('it did not answer in time');
}
