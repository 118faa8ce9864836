import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type AlertKind, alertKinds, type Severity, severities } from '../../api/alerts.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Target, TargetKind, TargetSettings } from './target.ts';
import { webhookKey, webhookKeyBytes } from './webhook.ts';

/** What was asked for, in whatever kind of target. */
export interface AskedSettings {
  readonly address?: string | undefined;
  readonly secret?: string | undefined;
  readonly ca?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: readonly string[] | undefined;
  readonly allowPlainHttp?: boolean | undefined;
  readonly severity?: Severity | undefined;
  readonly kinds?: readonly AlertKind[] | null | undefined;
}

type Field = 'address' | 'secret' | 'ca' | 'from' | 'to' | 'allowPlainHttp';

/** What each kind of target takes, and what it cannot be without. */
const fieldsOf = {
  webhook: { takes: ['address', 'secret', 'ca', 'allowPlainHttp'], needs: ['address', 'secret'] },
  slack: { takes: ['secret', 'ca'], needs: ['secret'] },
  syslog: { takes: ['address', 'ca'], needs: ['address'] },
  mail: {
    takes: ['address', 'secret', 'ca', 'from', 'to'],
    needs: ['address', 'from', 'to'],
  },
} as const satisfies Record<TargetKind, { takes: readonly Field[]; needs: readonly Field[] }>;

const syslogPortDefault = 6514;
const mailPorts = { 'smtps:': 465, 'smtp:': 587 } as const;

/** The settings of a new target. Throws `invalid-request` with what is wrong. */
export function newSettings(kind: TargetKind, asked: AskedSettings): TargetSettings {
  requireFields(kind, asked);
  const settings: TargetSettings = {
    address: asked.address ?? '',
    ca: asked.ca ?? null,
    from: asked.from ?? null,
    to: asked.to ?? null,
    allowPlainHttp: asked.allowPlainHttp ?? false,
    severity: asked.severity ?? 'notice',
    kinds: asked.kinds ?? null,
  };
  return checked(kind, settings, asked.secret, asked.secret !== undefined);
}

/** The settings after a change. A secret is not carried to another address. */
export function changedSettings(target: Target, asked: AskedSettings): TargetSettings {
  const { kind, settings } = target;
  requireTaken(kind, asked);
  const moves = asked.address !== undefined && asked.address !== settings.address;
  if (moves && target.secret !== null && asked.secret === undefined) {
    throw invalid(
      'A new address needs the secret again: what is sealed for one host is not sent to another.',
      'Give the secret file with the address.',
    );
  }
  const changed: TargetSettings = {
    address: asked.address ?? settings.address,
    ca: asked.ca === undefined ? settings.ca : asked.ca === '' ? null : asked.ca,
    from: asked.from ?? settings.from,
    to: asked.to ?? settings.to,
    allowPlainHttp: asked.allowPlainHttp ?? settings.allowPlainHttp,
    severity: asked.severity ?? settings.severity,
    kinds: asked.kinds === undefined ? settings.kinds : asked.kinds,
  };
  return checked(kind, changed, asked.secret, target.secret !== null || asked.secret !== undefined);
}

/** Whether the target wants to be told of such an alert. */
export function wants(
  { severity, kinds }: Pick<TargetSettings, 'severity' | 'kinds'>,
  alert: { readonly kind: AlertKind; readonly severity: Severity },
): boolean {
  if (severities.indexOf(alert.severity) > severities.indexOf(severity)) return false;
  return kinds === null || kinds.includes(alert.kind);
}

/** Host and port of `tls://host:port`. */
export function syslogPlace(address: string): { readonly host: string; readonly port: number } {
  const url = parseUrl(address, ['tls:'], 'tls://host:6514');
  if (url.username !== '' || url.pathname.length > 1) throw badAddress('tls://host:6514');
  return { host: hostOf(url), port: url.port === '' ? syslogPortDefault : Number(url.port) };
}

/** What `smtps://user@host:port` or `smtp://...` says. */
export function mailPlace(address: string) {
  const example = 'smtps://user@host';
  const url = parseUrl(address, ['smtps:', 'smtp:'], example);
  if (url.pathname.length > 1) throw badAddress(example);
  const scheme = url.protocol as keyof typeof mailPorts;
  return {
    host: hostOf(url),
    port: url.port === '' ? mailPorts[scheme] : Number(url.port),
    isImplicitTls: scheme === 'smtps:',
    user: url.username === '' ? undefined : userOf(url, example),
  };
}

function userOf({ username }: URL, example: string): string {
  try {
    return decodeURIComponent(username);
  } catch {
    throw badAddress(example);
  }
}

function checked(
  kind: TargetKind,
  settings: TargetSettings,
  secret: string | undefined,
  hasSecret: boolean,
): TargetSettings {
  if (settings.ca !== null) requireCertificates(settings.ca);
  requireKinds(settings);
  if (kind === 'webhook') {
    requireWebUrl(settings.address, settings.allowPlainHttp);
    if (secret !== undefined) requireWebhookKey(secret);
  }
  if (kind === 'syslog') syslogPlace(settings.address);
  if (kind === 'mail') {
    const { user } = mailPlace(settings.address);
    if ((user !== undefined) !== hasSecret) {
      throw invalid(
        'A mail server that asks for a user asks for a password, and the other way round.',
        'Write smtps://user@host and give the password, or leave both out.',
      );
    }
  }
  if (kind === 'slack' && secret !== undefined) {
    return { ...settings, address: `${requireWebUrl(secret, false).origin}/...` };
  }
  return settings;
}

function requireFields(kind: TargetKind, asked: AskedSettings): void {
  requireTaken(kind, asked);
  const missing = fieldsOf[kind].needs.find((field) => asked[field] === undefined);
  if (missing !== undefined) {
    throw invalid(`A target of the kind ${kind} needs "${missing}".`, takesHint(kind));
  }
}

function requireTaken(kind: TargetKind, asked: AskedSettings): void {
  const takes: readonly Field[] = fieldsOf[kind].takes;
  const given = (['address', 'secret', 'ca', 'from', 'to', 'allowPlainHttp'] as const).filter(
    (field) => asked[field] !== undefined && asked[field] !== false,
  );
  const odd = given.find((field) => !takes.includes(field));
  if (odd !== undefined) {
    throw invalid(`A target of the kind ${kind} takes no "${odd}".`, takesHint(kind));
  }
}

function takesHint(kind: TargetKind): string {
  return `It takes: ${fieldsOf[kind].takes.join(', ')}.`;
}

function requireKinds({ severity, kinds }: TargetSettings): void {
  const unheard = kinds?.find(
    (kind) => !wants({ severity, kinds: null }, { kind, ...alertKinds[kind] }),
  );
  if (unheard === undefined) return;
  const worse = alertKinds[unheard].severity;
  throw invalid(
    `"${unheard}" is of the severity ${worse}, below "${severity}": it would never be told.`,
    `Take the severity "${worse}", or leave the kind out.`,
  );
}

function requireWebUrl(address: string, allowPlainHttp: boolean): URL {
  const url = parseUrl(address, ['https:', 'http:'], 'https://host/path');
  if (url.username !== '') throw badAddress('https://host/path');
  if (url.protocol === 'http:' && !allowPlainHttp && !isLoopback(hostOf(url))) {
    throw invalid(
      'Plain HTTP leaves this host readable to all on the way.',
      'Use https://, or allow plain HTTP for this target.',
    );
  }
  return url;
}

/** The text of errors leaves the address out: that of slack is a secret. */
function parseUrl(address: string, schemes: readonly string[], example: string): URL {
  const url = URL.parse(address);
  if (url === null || !schemes.includes(url.protocol) || url.hostname === '') {
    throw badAddress(example);
  }
  if (url.password !== '') {
    throw invalid(
      'A password has no place in an address: addresses are shown.',
      'Give it as the secret.',
    );
  }
  return url;
}

function badAddress(example: string): KeyreeveError {
  return invalid('The address is not one for this kind of target.', `Write it as ${example}.`);
}

/** The name or address of the host, without the brackets of IPv6. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

function requireWebhookKey(secret: string): void {
  const { min, max } = webhookKeyBytes;
  const key = webhookKey(Buffer.from(secret, 'utf8'));
  if (key.length >= min && key.length <= max) return;
  throw invalid(
    `The key of the signatures has ${key.length} bytes.`,
    `Take ${min} to ${max} bytes, such as: whsec_ and what "openssl rand -base64 32" prints.`,
  );
}

function requireCertificates(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    for (const block of blocks) new X509Certificate(block);
    if (blocks.length > 0) return;
  } catch {
    // Said below.
  }
  throw invalid('The CA file holds no certificates in PEM.', 'Give the certificate of the CA.');
}

function invalid(message: string, hint: string): KeyreeveError {
  return new KeyreeveError('invalid-request', message, { hint });
}
