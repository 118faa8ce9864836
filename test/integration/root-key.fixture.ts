/** An installation whose root key lies in a token, for the tests of this folder. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { ApiClient } from '../../client/api-client.ts';
import {
  type CommandLine,
  commandLine,
  type Installation,
  type LoggedIn,
  logIn,
  makeInstallation,
  type RunningService,
  startService,
} from '../service.ts';

const data = Buffer.from('kept').toString('base64');

/** What `KEYREEVE_SEAL` says of a root key in a token. */
export const sealIn = (token: { uri: string }, object = 'keyreeve root') =>
  token.uri
    .replace('?', `;object=${encodeURIComponent(object)}?`)
    // For the programs of the TPM, not for its module.
    .replace(/&keyreeve-environment=TPM2TOOLS_TCTI=[^&]*/, '');

/** An installation that runs, with somebody logged in. */
export interface Site {
  readonly installation: Installation;
  readonly login: LoggedIn;
  readonly service: RunningService;
  readonly client: ApiClient;
  readonly command: CommandLine;
}

export async function firstStart(t: TestContext, seal: string): Promise<Site> {
  const installation = makeInstallation(t, { KEYREEVE_SEAL: seal });
  const service = await startService(t, installation);
  const login = await logIn(t, service);
  return siteOf(installation, service, login);
}

function siteOf(installation: Installation, service: RunningService, login: LoggedIn): Site {
  const command = commandLine(installation, service, login);
  return { installation, login, service, client: login.at(service.url), command };
}

/** Starts it again with other settings. */
export async function restart(
  t: TestContext,
  { installation, login }: Site,
  settings: Readonly<Record<string, string>> = {},
): Promise<Site> {
  Object.assign(installation.environment, settings);
  return siteOf(installation, await startService(t, installation), login);
}

export async function must(command: CommandLine, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await command(words);
  assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
  return stdout;
}

export async function makeKey(client: ApiClient): Promise<string> {
  const body = { name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' } as const;
  await client.call('key.create', { body });
  const params = { key: 'data/orders' };
  return (await client.call('key.encrypt', { params, body: { plaintext: data } })).ciphertext;
}

export async function opens(client: ApiClient, ciphertext: string): Promise<void> {
  const answer = await client.call('key.decrypt', {
    params: { key: 'data/orders' },
    body: { ciphertext },
  });
  assert.equal(answer.plaintext, data);
}
