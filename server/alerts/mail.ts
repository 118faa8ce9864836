import { hostname } from 'node:os';
import type { Alert } from '../../api/alerts.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';
import { factsOf, headline } from './alert-text.ts';
import { plainText, type Sender, SendFailure, within } from './sender.ts';

export interface MailOptions {
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte; else STARTTLS, without which nothing is sent. */
  readonly isImplicitTls: boolean;
  readonly user: string | undefined;
  readonly password: SecretBytes | undefined;
  readonly from: string;
  readonly to: readonly string[];
  readonly ca: string | undefined;
}

/** For each word of the mail server. */
const mailTimeoutSeconds = 10;
/** For all of them. */
const mailLimitSeconds = 20;

/** One mail for each alert; its Message-ID is the id of the alert. */
export function createMail(options: MailOptions): Sender {
  return {
    batchMax: 1,
    send: async ([alert], signal) => {
      if (alert === undefined) return undefined;
      return deliver(options, alert, within(signal, mailLimitSeconds));
    },
    close: () => options.password?.[Symbol.dispose](),
  };
}

async function deliver(
  options: MailOptions,
  alert: Alert,
  signal: AbortSignal,
): Promise<string | undefined> {
  // Loaded where it is used: most installations send no mail, and every start would pay.
  const { createTransport } = await import('nodemailer');
  const { host, port, isImplicitTls, user, password, from, to, ca } = options;
  const timeout = mailTimeoutSeconds * 1000;
  const transport = createTransport({
    ...{ host, port, secure: isImplicitTls, requireTLS: !isImplicitTls, name: mailHost() },
    ...(user === undefined || password === undefined
      ? {}
      : { auth: { user, pass: password.reveal().toString('utf8') } }),
    tls: {
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
    },
    ...{ connectionTimeout: timeout, greetingTimeout: timeout, socketTimeout: timeout },
    // The text is ours alone: nothing in it may name a file or an address to fetch.
    ...{ disableFileAccess: true, disableUrlAccess: true },
  });
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(new SendFailure('it did not answer in time'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    const message = {
      ...{ from, to: [...to], subject: subjectOf(alert), text: mailText(alert) },
      // Else a server that goes on answering bit by bit would keep the connection for good.
      signal,
      messageId: `<${alert.id}@${alert.installation}.keyreeve>`,
      date: new Date(alert.time),
      // RFC 3834: nobody's vacation notice answers to this.
      headers: { 'Auto-Submitted': 'auto-generated', 'X-Keyreeve-Alert': alert.kind },
    };
    const sending = transport.sendMail(message).catch((error: unknown) => {
      throw withoutPassword(error);
    });
    const sent = await Promise.race([sending, aborted.promise]);
    const refused = sent.rejected.map(String);
    return refused.length === 0
      ? undefined
      : plainText(`the mail server refused ${refused.join(', ')}`);
  } finally {
    signal.removeEventListener('abort', abort);
    transport.close();
  }
}

/** What a server says to a login may repeat the login: its number is told, and not its text. */
function withoutPassword(error: unknown): unknown {
  const { code, responseCode } = error as { code?: unknown; responseCode?: unknown };
  if (code !== 'EAUTH') return error;
  const number = typeof responseCode === 'number' ? ` (${responseCode})` : '';
  return new SendFailure(`the mail server refused the user or the password${number}`);
}

function subjectOf(alert: Alert): string {
  return `[keyreeve ${alert.severity}] ${headline(alert)}`;
}

/** The text of the mail, for people. */
export function mailText(alert: Alert): string {
  const lines = factsOf(alert).map(([name, value]) => `${`${name}:`.padEnd(14)}${value}`);
  return [headline(alert), '', ...lines, ''].join('\n');
}

function mailHost(): string {
  return hostname().replace(/[^A-Za-z0-9.-]/g, '') || 'localhost';
}
