import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { vendorAttributes } from '../server/keystores/pkcs11/settings.ts';
import { formatPkcs11Uri } from '../server/keystores/pkcs11/uri.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { requirePkcs11Addon } from './pkcs11-addon.ts';
import { withEnvironment } from './softhsm.ts';
import { findProgram, run, skip, tryRun } from './tools.ts';

const modulePaths = [
  '/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so',
  '/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so',
  '/usr/lib/libtpm2_pkcs11.so',
];
const programs = ['swtpm', 'dbus-daemon', 'tpm2-abrmd', 'tpm2_ptool', 'tpm2_getcap'];
const startAttempts = 3;
const label = 'keyreeve tpm';
const pin = 'userpin';
const soPin = 'sopin';

/** A TPM 2.0 in software, with its resource manager on a bus of its own, and a token in it. */
export interface TestTpm {
  readonly folder: string;
  readonly modulePath: string;
  readonly label: string;
  readonly pin: string;
  readonly pinFile: string;
  readonly uri: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Ends all of it and removes its folder. */
  remove(): Promise<void>;
}

/** Starts a TPM; where a part is not installed the test is skipped by name. */
export async function startTpm(t: TestContext): Promise<TestTpm | undefined> {
  if (!requirePkcs11Addon(t)) return undefined;
  const modulePath = modulePaths.find((path) => existsSync(path));
  const missing = programs.find((name) => findDaemon(name) === undefined);
  if (modulePath === undefined || missing !== undefined) {
    skip(t, `${missing ?? 'the PKCS #11 module of the TPM'} is not here`);
    return undefined;
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(modulePath);
    } catch (error) {
      // Another test may have taken the port between the look for it and its use.
      if (attempt === startAttempts) throw error;
    }
  }
}

async function startOnce(modulePath: string): Promise<TestTpm> {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-tpm-'));
  const children: ChildProcess[] = [];
  const remove = async () => {
    for (const child of children.reverse()) await end(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const environment = await startDaemons(folder, children);
    makeToken(environment);
    const pinFile = join(folder, 'pin');
    writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
    const uri = formatPkcs11Uri({
      path: { token: label },
      query: { 'module-path': modulePath, 'pin-source': `file:${pinFile}` },
      vendorQuery: Object.entries(environment).map(([name, value]) => ({
        name: vendorAttributes.environment,
        value: `${name}=${value}`,
      })),
    });
    return { folder, modulePath, label, pin, pinFile, uri, environment, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The TPM itself, a message bus that nobody else is on, and the resource manager between. */
async function startDaemons(
  folder: string,
  children: ChildProcess[],
): Promise<Readonly<Record<string, string>>> {
  const state = join(folder, 'state');
  const store = join(folder, 'store');
  for (const path of [state, store]) mkdirSync(path);
  const port = await freePortPair();
  const controlPort = port + 1;
  start(children, 'swtpm', [
    ...['socket', '--tpm2', '--tpmstate', `dir=${state}`],
    ...['--server', `type=tcp,port=${port},bindaddr=127.0.0.1`],
    ...['--ctrl', `type=tcp,port=${controlPort},bindaddr=127.0.0.1`],
    ...['--flags', 'not-need-init,startup-clear'],
  ]);
  const bus = join(folder, 'bus');
  const configuration = join(folder, 'bus.conf');
  writeFileSync(configuration, busConfiguration(bus));
  start(children, 'dbus-daemon', [`--config-file=${configuration}`, '--nofork']);
  await eventually(() => existsSync(bus), { message: 'the message bus did not start' });
  // The control port: a look at the other one would be the one client that it takes.
  await eventually(() => isListening(controlPort), { message: 'the TPM did not start' });
  const address = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}` };
  const manager = `--tcti=swtpm:host=127.0.0.1,port=${port}`;
  start(children, 'tpm2-abrmd', ['--allow-root', '--flush-all', manager], address);
  const environment = {
    ...address,
    TPM2TOOLS_TCTI: 'tabrmd:bus_type=system',
    TPM2_PKCS11_TCTI: 'tabrmd:bus_type=system',
    TPM2_PKCS11_STORE: store,
    TPM2_PKCS11_LOG_LEVEL: '0',
  };
  await eventually(
    () =>
      withEnvironment(
        environment,
        () => tryRun(findDaemon('tpm2_getcap') ?? '', ['properties-fixed']).status === 0,
      ),
    { message: 'the resource manager of the TPM did not start', milliseconds: 30_000 },
  );
  return environment;
}

function makeToken(environment: Readonly<Record<string, string>>): void {
  const tool = findDaemon('tpm2_ptool') ?? '';
  const path = `--path=${environment.TPM2_PKCS11_STORE}`;
  withEnvironment(environment, () => {
    run(tool, ['init', path]);
    run(tool, [
      ...['addtoken', '--pid=1', path, `--label=${label}`],
      ...[`--sopin=${soPin}`, `--userpin=${pin}`],
    ]);
  });
}

function busConfiguration(socket: string): string {
  return `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`;
}

function start(
  children: ChildProcess[],
  name: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): void {
  const child = spawn(findDaemon(name) ?? name, parameters, {
    stdio: 'ignore',
    env: { ...process.env, ...environment },
  });
  children.push(child);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}

/** A free port whose successor is free too: that is where clients look for the control port. */
async function freePortPair(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (port < 65_535 && !(await isListening(port + 1))) return port;
  }
}

/** Daemons may lie where the path of a plain user does not lead. */
function findDaemon(name: string): string | undefined {
  const found = findProgram(name);
  if (found !== undefined) return found;
  return ['/usr/sbin', '/sbin']
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
