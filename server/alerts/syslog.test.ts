import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Alert, alertKinds } from '../../api/alerts.ts';
import { makeCa, makeLeaf } from '../../test/doubles/https-service.ts';
import { startReceiver } from '../../test/doubles/receiver-process.ts';
import { eventually } from '../../test/eventually.ts';
import { freePort } from '../../test/free-port.ts';
import { findProgram, requireProgram, skip } from '../../test/tools.ts';
import { createSyslog, syslogMessage } from './syslog.ts';

const never = new AbortController().signal;
const nasty = 'a"b\\c]d\n<14>1 - - - - - - forged\r\u2028\u0000 [x@1 y="z"] ärger';

function alertOf(index: number, fields: Partial<Alert> = {}): Alert {
  return {
    ...{ id: `ent_${index}`, time: '2030-01-01T00:00:00.123Z' },
    ...{ kind: 'key-compromised', ...alertKinds['key-compromised'] },
    ...{ action: 'key.state', outcome: 'ok', installation: 'ins_a', keyName: 'release' },
    ...fields,
  };
}

async function startPython(t: TestContext, mode: string) {
  const python = requireProgram(t, 'python3');
  if (python === undefined) return undefined;
  const receiver = await startReceiver(t, python, 'syslog_receiver.py', ['0', mode]);
  return {
    ...receiver,
    sender: createSyslog({ host: '127.0.0.1', port: receiver.port, ca: receiver.ca.pem }),
  };
}

test('a strict reader of RFC 5424 finds each value as it was, and no message more', async (t) => {
  const receiver = await startPython(t, 'read');
  if (receiver === undefined) return;
  const alerts = [alertOf(1), alertOf(2, { keyName: nasty, principalName: nasty, count: 3 })];
  await receiver.sender.send(alerts, never);
  await eventually(() => receiver.received.length >= 2);
  const [first, second, ...more] = receiver.received;
  assert.deepEqual(more, []);
  // log audit, critical: 13 * 8 + 2.
  assert.deepEqual(
    [first.priority, first.application, first.id],
    [106, 'keyreeve', 'key-compromised'],
  );
  assert.equal(first.time, '2030-01-01T00:00:00.123Z');
  assert.equal(first.message, 'A key was declared compromised: release');
  assert.deepEqual(first.data, {
    ...{ kind: 'key-compromised', severity: 'critical', time: '2030-01-01T00:00:00.123Z' },
    ...{
      action: 'key.state',
      outcome: 'ok',
      key: 'release',
      installation: 'ins_a',
      entry: 'ent_1',
    },
  });
  const plain = 'a"b\\c]d <14>1 - - - - - - forged  [x@1 y="z"] ärger';
  assert.deepEqual([second.data.key, second.data.who, second.data.times], [plain, plain, '3']);
  assert.equal(second.message, `A key was declared compromised: ${plain}`);
});

test('many messages go in one connection, in order', async (t) => {
  const receiver = await startPython(t, 'read');
  if (receiver === undefined) return;
  const alerts = Array.from({ length: receiver.sender.batchMax }, (_, index) => alertOf(index));
  await receiver.sender.send(alerts, never);
  await eventually(() => receiver.received.length >= alerts.length);
  assert.deepEqual(
    receiver.received.map(({ data }) => data.entry),
    alerts.map(({ id }) => id),
  );
});

test('a connection that is reset, or never closed, delivered nothing', async (t) => {
  const resetting = await startPython(t, 'reset');
  if (resetting === undefined) return;
  const many = Array.from({ length: 500 }, (_, index) => alertOf(index));
  await assert.rejects(resetting.sender.send(many, never));
  const hanging = await startPython(t, 'hang');
  await assert.rejects(hanging!.sender.send([alertOf(1)], AbortSignal.timeout(500)), /in time/);
});

test('a receiver whose certificate is by another CA gets nothing', async (t) => {
  const receiver = await startPython(t, 'read');
  if (receiver === undefined) return;
  for (const ca of [makeCa('Other').pem, undefined]) {
    const stranger = createSyslog({ host: '127.0.0.1', port: receiver.port, ca });
    await assert.rejects(stranger.send([alertOf(1)], never));
  }
  assert.ok(receiver.received.every(({ error }) => error !== undefined));
});

test('rsyslog takes the messages, reads them as they are, and closes in good order', async (t) => {
  const rsyslog = findProgram('rsyslogd') ?? '/usr/sbin/rsyslogd';
  const place = await startRsyslog(t, rsyslog);
  if (place === undefined) return skip(t, 'rsyslogd with TLS is not here');
  const sender = createSyslog({ host: '127.0.0.1', port: place.port, ca: place.ca });
  await sender.send([alertOf(1), alertOf(2, { keyName: nasty })], never);
  await sender.send([alertOf(3)], never);
  await eventually(() => place.lines().length >= 3);
  const read = place.lines().map((line) => JSON.parse(line));
  assert.deepEqual(
    read.map(({ data }) => data['keyreeve@32473'].entry),
    ['ent_1', 'ent_2', 'ent_3'],
  );
  assert.deepEqual(
    [read[0].severity, read[0].facility, read[0].application],
    ['2', '13', 'keyreeve'],
  );
  assert.equal(read[0].id, 'key-compromised');
  assert.match(read[1].data['keyreeve@32473'].key, /^a"b\\c]d <14>1/);
});

test('a message has no line breaks, whatever names say, and host names without spaces', () => {
  const message = syslogMessage(alertOf(1, { keyName: nasty }), 'my host\n').toString('utf8');
  assert.match(message, /^<106>1 \S+ myhost keyreeve - key-compromised \[keyreeve@32473 kind="/);
  assert.doesNotMatch(message, /[\p{Cc}\u2028]/u);
  assert.match(syslogMessage(alertOf(1), '').toString('utf8'), /Z - keyreeve - /);
});

/** A real rsyslogd that writes each message as JSON. */
async function startRsyslog(t: TestContext, program: string) {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-rsyslog-'));
  const at = (name: string) => join(folder, name);
  const ca = makeCa();
  const leaf = makeLeaf(ca);
  const port = await freePort();
  writeFileSync(at('ca.pem'), ca.pem);
  writeFileSync(at('certificate.pem'), leaf.pem);
  writeFileSync(at('key.pem'), leaf.keyPem, { mode: 0o600 });
  writeFileSync(
    at('rsyslog.conf'),
    `global(workDirectory="${folder}" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="${at('ca.pem')}"
  defaultNetstreamDriverCertFile="${at('certificate.pem')}"
  defaultNetstreamDriverKeyFile="${at('key.pem')}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="${port}")
template(name="json" type="list") {
  constant(value="{\\"severity\\":\\"") property(name="syslogseverity")
  constant(value="\\",\\"facility\\":\\"") property(name="syslogfacility")
  constant(value="\\",\\"application\\":\\"") property(name="app-name" format="json")
  constant(value="\\",\\"id\\":\\"") property(name="msgid" format="json")
  constant(value="\\",\\"data\\":") property(name="$!rfc5424-sd")
  constant(value="}\\n")
}
module(load="mmpstrucdata")
action(type="mmpstrucdata")
action(type="omfile" file="${at('out')}" template="json")
`,
  );
  const child = spawn(program, ['-n', '-f', at('rsyslog.conf'), '-i', at('pid')], {
    stdio: 'ignore',
  });
  const exited = new Promise((resolve) => {
    child.once('exit', resolve);
    child.once('error', resolve);
  });
  let isGone = false;
  exited.then(() => {
    isGone = true;
  });
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  });
  await eventually(async () => isGone || (await isOpen(port)));
  if (isGone) return undefined;
  const lines = () => {
    try {
      return readFileSync(at('out'), 'utf8').split('\n').filter(Boolean);
    } catch {
      return [];
    }
  };
  return { port, ca: ca.pem, lines };
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
