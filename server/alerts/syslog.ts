import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { type Alert, severities } from '../../api/alerts.ts';
import { factsOf, headline } from './alert-text.ts';
import { type Sender, SendFailure, within } from './sender.ts';

export interface SyslogOptions {
  readonly host: string;
  readonly port: number;
  readonly ca: string | undefined;
}

const syslogTimeoutSeconds = 10;
const batchMax = 500;
/** log audit, RFC 5424, section 6.2.1. */
const facility = 13;
/** The number is the one for documents (RFC 5612): the product has none of its own. */
const structuredDataId = 'keyreeve@32473';
const hostLengthMax = 255;

/**
 * RFC 5424 messages over TLS (RFC 5425). Syslog has no acknowledgement. Hence one connection for
 * each batch: what was written counts as received when the receiver, after our close_notify, has
 * closed in good order, because by then it has read everything. Anything else is sent again.
 */
export function createSyslog(options: SyslogOptions): Sender {
  return {
    batchMax,
    send: async (alerts, signal) => {
      const frames = Buffer.concat(alerts.map((alert) => framed(syslogMessage(alert))));
      await deliver(options, frames, within(signal, syslogTimeoutSeconds));
      return undefined;
    },
    close: () => undefined,
  };
}

/** One message without its frame. `host`: the name of this machine. */
export function syslogMessage(alert: Alert, host = hostname()): Buffer {
  const priority = facility * 8 + severities.indexOf(alert.severity);
  const header = `<${priority}>1 ${alert.time} ${printable(host)} keyreeve - ${alert.kind}`;
  const data = factsOf(alert).map(([name, value]) => ` ${name}="${parameter(value)}"`);
  const text = headline(alert);
  // MSG-UTF8 begins with a byte order mark (section 6.4); plain ASCII needs none.
  const mark = /^[\x20-\x7e]*$/.test(text) ? '' : '\ufeff';
  return Buffer.from(`${header} [${structuredDataId}${data.join('')}] ${mark}${text}`, 'utf8');
}

/** RFC 5425, section 4.3: the length in octets, a space, the message. */
function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${message.length} `, 'latin1'), message]);
}

/** PARAM-VALUE, RFC 5424, section 6.3.3; there are no control characters in it any more. */
function parameter(value: string): string {
  return value.replace(/["\\\]]/g, (letter) => `\\${letter}`);
}

function printable(host: string): string {
  const text = host.replace(/[^\x21-\x7e]/g, '').slice(0, hostLengthMax);
  return text === '' ? '-' : text;
}

function deliver(options: SyslogOptions, bytes: Buffer, signal: AbortSignal): Promise<void> {
  const { host, port, ca } = options;
  return new Promise((resolve, reject) => {
    let hasEnded = false;
    let failure: unknown;
    const tcp = connectTcp({ host, port });
    tcp.on('error', (error) => {
      failure ??= error;
    });
    const socket: TLSSocket = connect({
      ...{ host, servername: serverName(host), minVersion: 'TLSv1.2' },
      socket: withoutShutdown(tcp),
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : { ca }),
    });
    const abort = () => {
      failure ??= new SendFailure('it did not answer in time');
      socket.destroy();
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    socket.on('error', (error) => {
      failure ??= error;
    });
    socket.once('secureConnect', () => socket.end(bytes));
    // Whatever it says is read and dropped: only then its end shows.
    socket.resume();
    socket.once('end', () => {
      // Its end before ours says that it goes away, and not that it has read everything.
      hasEnded = socket.writableFinished;
    });
    socket.once('close', () => {
      signal.removeEventListener('abort', abort);
      tcp.destroy();
      if (failure === undefined && hasEnded) resolve();
      else reject(failure ?? new SendFailure('it closed the connection before all was read'));
    });
  });
}

/**
 * A connection of which our side is never shut down: our close_notify says the same, and a shutdown
 * would take the news of a reset away, so that it looked like an end in good order.
 */
function withoutShutdown(tcp: Socket): Duplex {
  const duplex = new Duplex({
    read: () => void tcp.resume(),
    write: (piece, _encoding, done) => void tcp.write(piece, done),
    final: (done) => done(),
    destroy: (error, done) => {
      tcp.destroy();
      done(error);
    },
  });
  tcp.on('data', (piece) => {
    if (!duplex.push(piece)) tcp.pause();
  });
  tcp.on('end', () => duplex.push(null));
  tcp.on('error', (error) => duplex.destroy(error));
  return duplex;
}

/** No name is indicated for an address (RFC 6066, section 3). */
function serverName(host: string): string {
  return isIP(host) === 0 ? host : '';
}
