import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { requireModule, requireModuleOf, requireVariables } from './module-rules.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyreeve-modules-'));
after(() => rm(folder, { recursive: true, force: true }));
const modules = join(folder, 'modules');
const dataFolder = join(folder, 'data');
const elsewhere = join(folder, 'elsewhere');
for (const path of [modules, dataFolder, elsewhere]) mkdirSync(path, { mode: 0o755 });
const places = { folders: [modules], ownFolders: [dataFolder] };
const file = (path: string, mode = 0o644) => {
  writeFileSync(path, '');
  chmodSync(path, mode);
  return path;
};
const refused = (message: RegExp) => ({ code: 'invalid-request', message });

test('a module comes from a folder of the list', async () => {
  await requireModule(file(join(modules, 'good.so')), places);
  const other = file(join(elsewhere, 'other.so'));
  await assert.rejects(requireModule(other, places), refused(/not in a folder/));
  // A folder whose name begins in the same way is another folder.
  mkdirSync(`${modules}-2`);
  const near = file(join(`${modules}-2`, 'near.so'));
  await assert.rejects(requireModule(near, places), refused(/not in a folder/));
  // The end of a link counts, not its beginning.
  symlinkSync(other, join(modules, 'link.so'));
  await assert.rejects(requireModule(join(modules, 'link.so'), places), refused(/not in a folder/));
  const way = `${modules}/../elsewhere/other.so`;
  await assert.rejects(requireModule(way, places), refused(/not in a folder/));
  symlinkSync(join(modules, 'good.so'), join(elsewhere, 'in.so'));
  // The link may lead elsewhere a moment later: what is loaded is what was looked at.
  const good = realpathSync(join(modules, 'good.so'));
  assert.equal(await requireModule(join(elsewhere, 'in.so'), places), good);
});

test('a module is a file that nobody else can change or replace', async (t) => {
  await assert.rejects(requireModule('good.so', places), refused(/not an absolute path/));
  await assert.rejects(requireModule(join(modules, 'none.so'), places), refused(/is not there/));
  await assert.rejects(requireModule(modules, places), refused(/is not a file/));
  for (const mode of [0o664, 0o646, 0o777]) {
    const lax = file(join(modules, 'lax.so'), mode);
    await assert.rejects(requireModule(lax, places), refused(/has mode/));
  }
  const open = join(modules, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  const within = file(join(open, 'within.so'));
  await assert.rejects(requireModule(within, places), refused(/open has mode 777/));
  if (process.getuid?.() !== 0) {
    t.diagnostic('the owner is looked at as root alone');
    return;
  }
  const foreign = file(join(modules, 'foreign.so'));
  chownSync(foreign, 65_534, 65_534);
  await assert.rejects(requireModule(foreign, places), refused(/belongs to another user/));
});

/** A socket that somebody listens at until the test is over. */
async function listenAt(t: TestContext, path: string): Promise<string> {
  const server = createServer().listen(path);
  await once(server, 'listening');
  t.after(() => server.close());
  return path;
}

test('what a variable names is passed on without links', async () => {
  const path = file(join(elsewhere, 'real.conf'));
  const link = join(elsewhere, 'link.conf');
  symlinkSync(path, link);
  const uri = `pkcs11:token=t?module-path=${file(join(modules, 'good.so'))}`;
  const checked = await requireModuleOf(`${uri}&keyreeve-environment=OPENSC_CONF=${link}`, places, {
    SOFTHSM2_CONF: link,
    OPENSC_CONF: '/no/such',
  });
  const real = realpathSync(path);
  assert.deepEqual(checked.environment, { SOFTHSM2_CONF: real, OPENSC_CONF: real });
});

test('a module speaks to no socket that anybody could have put there', async (t) => {
  const own = await listenAt(t, join(elsewhere, 'own'));
  chmodSync(own, 0o777);
  const tcti = { TPM2_PKCS11_TCTI: `swtpm:path=${own}` };
  const bus = { P11_KIT_SERVER_ADDRESS: `unix:path=${own},guid=0a` };
  assert.deepEqual(await requireVariables({ ...tcti, ...bus }, places), { ...tcti, ...bus });
  const open = join(elsewhere, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  const theirs = await listenAt(t, join(open, 'socket'));
  for (const environment of [
    { P11_KIT_SERVER_ADDRESS: `unix:path=${theirs}` },
    { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${theirs}` },
    { TPM2_PKCS11_TCTI: `swtpm:path=${theirs}` },
  ]) {
    await assert.rejects(requireVariables(environment, places), refused(/open has mode 777/));
  }
  const none = { P11_KIT_SERVER_ADDRESS: `unix:path=${join(elsewhere, 'none')}` };
  await assert.rejects(requireVariables(none, places), refused(/is not there/));
  const abstract = { DBUS_SYSTEM_BUS_ADDRESS: 'unix:abstract=/tmp/dbus' };
  await assert.rejects(requireVariables(abstract, places), refused(/value that is not taken/));
});

test('a sticky folder of another user guards nothing', async (t) => {
  if (process.getuid?.() !== 0) {
    t.diagnostic('the owner is looked at as root alone');
    return;
  }
  const theirs = join(elsewhere, 'theirs');
  mkdirSync(theirs);
  const path = file(join(theirs, 'module.conf'));
  chmodSync(theirs, 0o1777);
  await requireVariables({ OPENSC_CONF: path }, places);
  chownSync(theirs, 65_534, 65_534);
  await assert.rejects(
    requireVariables({ OPENSC_CONF: path }, places),
    refused(/theirs belongs to another user/),
  );
});

test('a module is given known variables, with values that run and load nothing', async (t) => {
  const bus = await listenAt(t, join(elsewhere, 'bus'));
  const path = file(join(elsewhere, 'module.conf'));
  await requireVariables(
    {
      SOFTHSM2_CONF: path,
      TPM2_PKCS11_TCTI: 'tabrmd:bus_type=system',
      DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}`,
      TPM2_PKCS11_LOG_LEVEL: '2',
    },
    places,
  );
  const bad: [Record<string, string>, RegExp][] = [
    [{ LD_PRELOAD: path }, /not given the variable LD_PRELOAD/],
    [{ NODE_OPTIONS: '--import=x' }, /not given the variable NODE_OPTIONS/],
    [{ __proto__x: '' }, /not given/],
    [{ constructor: 'x' }, /not given/],
    [{ TPM2_PKCS11_TCTI: 'cmd:sh -c id' }, /value that is not taken/],
    [{ TPM2_PKCS11_TCTI: '/tmp/evil.so' }, /value that is not taken/],
    [{ TPM2_PKCS11_TCTI: 'swtpm:host=192.0.2.1,port=2321' }, /value that is not taken/],
    [{ TPM2_PKCS11_TCTI: 'pcap:cmd:id' }, /value that is not taken/],
    [{ DBUS_SYSTEM_BUS_ADDRESS: 'unixexec:path=/bin/sh' }, /value that is not taken/],
    [{ SOFTHSM2_CONF: 'relative.conf' }, /not an absolute path/],
    [{ SOFTHSM2_CONF: join(elsewhere, 'none.conf') }, /is not there/],
    [{ OPENSC_CONF: file(join(dataFolder, 'opensc.conf')) }, /folder of the service/],
    [{ SOFTHSM2_CONF: file(join(elsewhere, 'lax.conf'), 0o666) }, /has mode/],
  ];
  for (const [environment, message] of bad) {
    await assert.rejects(
      requireVariables(environment, places),
      refused(message),
      JSON.stringify(environment),
    );
  }
});

test('variables in the address are held to the same', async () => {
  const uri = `pkcs11:token=t?module-path=${join(modules, 'good.so')}`;
  await requireModuleOf(uri, places);
  await requireModuleOf(`${uri}&pin-source=file:${join(elsewhere, 'pin')}`, places);
  await assert.rejects(
    requireModuleOf(`${uri}&pin-source=file:${join(dataFolder, 'root.key')}`, places),
    refused(/pin-source names a place in a folder of the service/),
  );
  await assert.rejects(
    requireModuleOf(`${uri}&keyreeve-environment=LD_PRELOAD=/tmp/x.so`, places),
    refused(/LD_PRELOAD/),
  );
});
