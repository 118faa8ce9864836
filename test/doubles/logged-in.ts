import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type TestCli, testCli } from './command-line.ts';
import { type Answer, type HttpsService, startHttpsService } from './https-service.ts';

/** A command line that is logged in to a service which answers as the test says. */
export async function loggedIn(
  t: TestContext,
  answer: Answer,
): Promise<{ cli: TestCli; service: HttpsService; file: (name: string) => string }> {
  const cli = testCli(t);
  const service = await startHttpsService(t, answer);
  const caFile = join(cli.folder, 'ca.pem');
  writeFileSync(caFile, service.ca.pem);
  Object.assign(cli.env, {
    KEYREEVE_URL: service.url,
    KEYREEVE_TOKEN: 'token',
    KEYREEVE_CA_FILE: caFile,
  });
  return { cli, service, file: (name) => join(cli.folder, name) };
}

/** The body of the last request. */
export const sentBody = (service: HttpsService) => JSON.parse(service.requests.at(-1)?.body ?? '');
