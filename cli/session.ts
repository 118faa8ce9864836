/** Which service a command talks to, and as whom. */
import { readFileSync } from 'node:fs';
import {
  type ApiClient,
  type ClientCertificate,
  type ClientOptions,
  createClient,
  parseServiceUrl,
} from '../client/api-client.ts';
import { KeyreeveError } from '../server/base/errors.ts';
import { readClientCertificate } from './client-certificate.ts';
import type { CliContext } from './context.ts';
import { type Profile, readProfile } from './profile.ts';
import { version } from './version.ts';

export const defaultUrl = 'https://127.0.0.1:8443';

export interface ConnectionOptions {
  readonly url?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface Session {
  readonly url: string;
  readonly caPem: string | undefined;
  readonly token: string | undefined;
  /** Shown in place of a token. */
  readonly clientCertificate: ClientCertificate | undefined;
  readonly profile: Profile | undefined;
  /** Whether the profile is about this service. */
  readonly isOfProfile: boolean;
}

/**
 * The address: option, then KEYREEVE_URL, then the profile. Token and CA of the profile go only to
 * the service that gave them: naming another address leaves them at home. A client certificate that
 * is named goes before the token of the profile; one that an option names, before KEYREEVE_TOKEN.
 */
export function resolveSession(context: CliContext, options: ConnectionOptions): Session {
  const { env } = context;
  const profile = readProfile(context);
  const url = parseServiceUrl(
    options.url ?? (env.KEYREEVE_URL || undefined) ?? profile?.url ?? defaultUrl,
  ).origin;
  const isOfProfile = profile !== undefined && profile.url === url;
  const caFile = options.caFile ?? (env.KEYREEVE_CA_FILE || undefined);
  const clientCertificate = readClientCertificate(env, options);
  const given = options.certFile === undefined ? env.KEYREEVE_TOKEN || undefined : undefined;
  const remembered = isOfProfile && clientCertificate === undefined ? profile.token : undefined;
  const token = given ?? remembered;
  return {
    url,
    caPem: caFile === undefined ? (isOfProfile ? profile.caPem : undefined) : readCa(caFile),
    token,
    // The service would go by the token.
    clientCertificate: token === undefined ? clientCertificate : undefined,
    profile,
    isOfProfile,
  };
}

/** A client for the session; `needsToken` refuses at once where there is nothing to call with. */
export function clientOf(
  session: Session,
  needsToken: boolean,
  dualControl: Pick<ClientOptions, 'approvalId' | 'breakGlass'> = {},
): ApiClient {
  const { token, clientCertificate } = session;
  if (needsToken && token === undefined && clientCertificate === undefined) {
    throw new KeyreeveError('unauthenticated', `you are not logged in to ${session.url}`, {
      hint: 'Log in with: keyreeve login --code CODE; or set KEYREEVE_TOKEN, or KEYREEVE_CERT_FILE and KEYREEVE_KEY_FILE.',
    });
  }
  return createClient({
    url: session.url,
    token,
    clientCertificate,
    caPem: session.caPem,
    agentName: `keyreeve-cli/${version()}`,
    ...dualControl,
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
