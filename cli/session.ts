/** Which service a command talks to, and as whom. */
import { readFileSync } from 'node:fs';
import { type ApiClient, createClient, parseServiceUrl } from '../client/api-client.ts';
import { KeyreeveError } from '../server/base/errors.ts';
import type { CliContext } from './context.ts';
import { type Profile, readProfile } from './profile.ts';
import { version } from './version.ts';

export const defaultUrl = 'https://127.0.0.1:8443';

export interface ConnectionOptions {
  readonly url?: string;
  readonly caFile?: string;
}

export interface Session {
  readonly url: string;
  readonly caPem: string | undefined;
  readonly token: string | undefined;
  readonly profile: Profile | undefined;
  /** Whether the profile is about this service. */
  readonly isOfProfile: boolean;
}

/**
 * The address: option, then KEYREEVE_URL, then the profile. Token and CA of the profile go only to
 * the service that gave them: naming another address leaves them at home.
 */
export function resolveSession(context: CliContext, options: ConnectionOptions): Session {
  const { env } = context;
  const profile = readProfile(context);
  const url = parseServiceUrl(
    options.url ?? (env.KEYREEVE_URL || undefined) ?? profile?.url ?? defaultUrl,
  ).origin;
  const isOfProfile = profile !== undefined && profile.url === url;
  const caFile = options.caFile ?? (env.KEYREEVE_CA_FILE || undefined);
  return {
    url,
    caPem: caFile === undefined ? (isOfProfile ? profile.caPem : undefined) : readCa(caFile),
    token: (env.KEYREEVE_TOKEN || undefined) ?? (isOfProfile ? profile.token : undefined),
    profile,
    isOfProfile,
  };
}

/** A client for the session; `needsToken` refuses at once where nobody is logged in. */
export function clientOf(session: Session, needsToken: boolean): ApiClient {
  if (needsToken && session.token === undefined) {
    throw new KeyreeveError('unauthenticated', `you are not logged in to ${session.url}`, {
      hint: 'Log in with: keyreeve login --code CODE; or set KEYREEVE_TOKEN.',
    });
  }
  return createClient({
    url: session.url,
    token: session.token,
    caPem: session.caPem,
    agentName: `keyreeve-cli/${version()}`,
  });
}

/** Reads the certificates of authorities. */
export function readCa(path: string): string {
  const pem = readFileSync(path, 'utf8');
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new KeyreeveError('invalid-request', `${path} holds no certificate`, {
      hint: 'Name a PEM file with the certificate of the CA, such as ca.pem in the tls folder of the data.',
    });
  }
  return pem;
}
