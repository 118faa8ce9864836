import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { vendorAttributes } from '../server/keystores/pkcs11/settings.ts';
import { formatPkcs11Uri } from '../server/keystores/pkcs11/uri.ts';
import { requirePkcs11Addon } from './pkcs11-addon.ts';
import { requireProgram, run, skip } from './tools.ts';

const modulePaths = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];
const label = 'keyreeve test';
const pin = '1234';
const soPin = '4321';

/** A SoftHSM2 token of its own in a temporary folder. */
export interface TestSoftHsm {
  readonly folder: string;
  readonly modulePath: string;
  readonly label: string;
  readonly pin: string;
  readonly soPin: string;
  readonly pinFile: string;
  /** The URI of the token as a keystore. */
  readonly uri: string;
  /** Where SOFTHSM2_CONF has to point to. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs pkcs11-tool, logged in to the token; returns what it printed. */
  tool(parameters: readonly string[], input?: Uint8Array | string): Buffer;
  /** Takes the tokens away, as a cable that is pulled. */
  takeAway(): void;
  putBack(): void;
  /** The same token with other query attributes. */
  uriWith(query: Readonly<Record<string, string>>): string;
  remove(): void;
}

/** Makes a token; where SoftHSM2 is not installed the test is skipped by name. */
export function startSoftHsm(t: TestContext): TestSoftHsm | undefined {
  if (!requirePkcs11Addon(t)) return undefined;
  const modulePath = modulePaths.find((path) => existsSync(path));
  if (modulePath === undefined) {
    skip(t, 'SoftHSM2 is not here');
    return undefined;
  }
  const util = requireProgram(t, 'softhsm2-util');
  if (util === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-softhsm-'));
  const tokens = join(folder, 'tokens');
  const away = join(folder, 'tokens.away');
  mkdirSync(tokens);
  const configuration = join(folder, 'softhsm2.conf');
  writeFileSync(configuration, `directories.tokendir = ${tokens}\nlog.level = ERROR\n`);
  const environment = { SOFTHSM2_CONF: configuration };
  const pinFile = join(folder, 'pin');
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  withEnvironment(environment, () =>
    run(util, [
      ...['--init-token', '--free', '--label', label],
      ...['--pin', pin, '--so-pin', soPin],
    ]),
  );
  const uriWith = (query: Readonly<Record<string, string>>) =>
    formatPkcs11Uri({
      path: { token: label },
      query: { 'module-path': modulePath, 'pin-source': `file:${pinFile}`, ...query },
      vendorQuery: [
        { name: vendorAttributes.environment, value: `SOFTHSM2_CONF=${configuration}` },
      ],
    });
  return {
    ...{ folder, modulePath, label, pin, soPin, pinFile, environment, uriWith },
    uri: uriWith({}),
    tool: (parameters, input) =>
      withEnvironment(environment, () =>
        run(
          'pkcs11-tool',
          [
            ...['--module', modulePath, '--token-label', label, '--login', '--pin', pin],
            ...parameters,
          ],
          input,
        ),
      ),
    takeAway: () => renameSync(tokens, away),
    putBack: () => renameSync(away, tokens),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Runs programs with further variables; they are started and awaited within `work`. */
export function withEnvironment<Result>(
  environment: Readonly<Record<string, string>>,
  work: () => Result,
): Result {
  const before = { ...process.env };
  Object.assign(process.env, environment);
  try {
    return work();
  } finally {
    for (const name of Object.keys(environment)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}
