import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';

const headersEnd = Buffer.from('\r\n\r\n');
const lengthHeader = Buffer.from('Content-Length: ');
const statusStart = 'HTTP/1.1 '.length;

export interface RawAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * One HTTP/1.1 connection over TLS that sends ready-made requests and reads just enough of the
 * answers to know where they end: the client shares the machine with what it measures, so it must
 * cost little.
 */
export class Connection {
  readonly #socket: TLSSocket;
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Bytes of the whole answer, once its headers are there. */
  #wholeBytes = 0;
  #onAnswer: ((answer: RawAnswer) => void) | undefined;
  #onFailure: ((error: Error) => void) | undefined;
  #failure: Error | undefined;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (piece: Buffer) => this.#take(piece));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the service closed the connection')));
  }

  /** Connects to the service on this machine, trusting this CA alone. */
  static async open(port: number, ca: string): Promise<Connection> {
    const socket = connect({ host: '127.0.0.1', port, ca, minVersion: 'TLSv1.3' });
    await once(socket, 'secureConnect');
    return new Connection(socket);
  }

  /** Sends one request; callbacks instead of promises keep the client cheap. */
  send(
    request: Buffer,
    onAnswer: (answer: RawAnswer) => void,
    onFailure: (error: Error) => void,
  ): void {
    this.#onAnswer = onAnswer;
    this.#onFailure = onFailure;
    if (this.#failure === undefined) this.#socket.write(request);
    else onFailure(this.#failure);
  }

  close(): void {
    this.#onFailure = undefined;
    this.#socket.destroy();
  }

  #take(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#wholeBytes === 0) {
      const all = this.#all();
      const end = all.indexOf(headersEnd);
      if (end < 0) return;
      this.#wholeBytes = end + headersEnd.length + contentLength(all.subarray(0, end + 2));
    }
    if (this.#bytes < this.#wholeBytes) return;
    const all = this.#all();
    const bodyStart = all.indexOf(headersEnd) + headersEnd.length;
    this.#pieces = [];
    this.#bytes = 0;
    this.#wholeBytes = 0;
    const status = Number(all.toString('latin1', statusStart, statusStart + 3));
    this.#onAnswer?.({ status, body: all.subarray(bodyStart) });
  }

  #all(): Buffer {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0]!;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#onFailure?.(this.#failure);
    this.#onFailure = undefined;
  }
}

/** Whole requests as octets. */
export function httpRequest(
  method: 'GET' | 'POST',
  path: string,
  token: string,
  body?: unknown,
): Buffer {
  const head = [
    `${method} ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    `Authorization: Bearer ${token}`,
    'User-Agent: keyreeve-bench',
  ];
  if (body === undefined) return Buffer.from(`${head.join('\r\n')}\r\n\r\n`);
  const text = JSON.stringify(body);
  head.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`);
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${text}`);
}

function contentLength(headers: Buffer): number {
  const start = headers.indexOf(lengthHeader);
  if (start < 0) throw new Error('an answer came without its length');
  return Number.parseInt(headers.toString('latin1', start + lengthHeader.length), 10);
}
