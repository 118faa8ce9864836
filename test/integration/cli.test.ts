import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type ExitName, exitCodes } from '../../cli/exit-codes.ts';
import { makeInstallation, startService } from '../service.ts';
import { logInByCommand, mustRefuse, mustRun, runScript } from '../shell.ts';
import { sitAt } from '../terminal.ts';
import { requireProgram } from '../tools.ts';

// One service and one profile for the whole file; each test has keys of its own.
const installation = makeInstallation({ after });
const service = await startService({ after }, installation);
await logInByCommand(installation, service);
const file = (name: string) => join(installation.folder, name);
const must = (script: string, input?: string | Buffer) =>
  mustRun(installation, script, input === undefined ? {} : { input });
const attempt = (script: string, environment: Record<string, string> = {}) =>
  runScript(installation, script, { environment });

writeFileSync(file('message'), 'a message\n');

const refuses = (
  script: string,
  code: ExitName,
  error: RegExp,
  environment: Record<string, string> = {},
) => mustRefuse(installation, script, code, error, environment);

test('a person at a terminal is asked for the name before a key is destroyed', async (t) => {
  const python = requireProgram(t, 'python3');
  if (python === undefined) return;
  await must('keyreeve key create doomed --algorithm aes-256 --purpose encrypt');
  const destroy = (answer: string) =>
    sitAt(python, installation, ['key', 'destroy', 'doomed'], 'to go on: ', answer);
  // The line, Ctrl-D and Ctrl-C.
  for (const answer of ['dommed\n', '\u0004', '\u0003']) {
    const { code, seen } = destroy(answer);
    assert.match(seen, /All that doomed protects will be lost for ever\./);
    assert.match(seen, /\nerror: nothing was done: the name was not typed\r\nhint: /);
    assert.equal(code, exitCodes.usage);
  }
  const still = JSON.parse((await must('keyreeve key show doomed --json')).stdout.toString());
  assert.equal(still.destroyAt, null);
  const { code, seen } = destroy('doomed\n');
  assert.match(seen, /doomed will be destroyed at /);
  assert.equal(code, 0);
  await refuses(
    'keyreeve encrypt doomed --in message --out sealed',
    'conflict',
    /waiting to be destroyed|destroy/,
  );
  await must('keyreeve key cancel-destroy doomed && keyreeve encrypt doomed --in message --out x');
});

test('login codes work once; logout forgets the token', async () => {
  const own = { XDG_CONFIG_HOME: file('other-config') };
  const code = (await must('keyreeve login-code')).stdout.toString();
  const login = `keyreeve --url ${service.url} login --code -`;
  const first = await runScript(installation, login, { input: code, environment: own });
  assert.equal(first.code, 0, first.stderr);
  const profile = join(file('other-config'), 'keyreeve', 'profile.json');
  assert.equal(statSync(profile).mode & 0o777, 0o600);
  const again = await runScript(installation, login, { input: code, environment: own });
  assert.equal(again.code, exitCodes['not-allowed']);
  assert.match(again.stderr, /^error: .*\nhint: /);
  assert.match(
    (await mustRun(installation, 'keyreeve status', { environment: own })).stdout.toString(),
    /you: +administrator/,
  );
  const { token } = JSON.parse(readFileSync(profile, 'utf8'));
  await mustRun(installation, 'keyreeve logout', { environment: own });
  assert.equal(readFileSync(profile, 'utf8').includes(token), false);
  await refuses('keyreeve status', 'not-allowed', /not logged in/, own);
  const stale = { ...own, KEYREEVE_TOKEN: token };
  await refuses('keyreeve status', 'not-allowed', /token/, stale);
});

test('somebody else logs in with the code that principal enrol prints', async () => {
  const own = { XDG_CONFIG_HOME: file('ada-config') };
  await must('keyreeve principal create ada --kind person --role key-user');
  await must('keyreeve key create shared --algorithm p-256 --purpose sign');
  const { stdout } = await must('keyreeve principal enrol ada --token-ttl 1h');
  const login = `keyreeve --url ${service.url} login --code ${stdout.toString().trim()}`;
  await mustRun(installation, login, { environment: own });
  await mustRun(installation, 'keyreeve sign shared --in message --out ada.sig', {
    environment: own,
  });
  const making = 'keyreeve key create hers --algorithm p-256 --purpose sign';
  await refuses(making, 'not-allowed', /error: /, own);
  await refuses('keyreeve principal enrol administrator', 'not-allowed', /error: /, own);
});

test('what is wrong is said in two lines, with the exit code of the manual', async () => {
  await must('keyreeve key create wrong --algorithm p-256 --purpose sign');
  const sign = (rest: string) => `keyreeve sign wrong ${rest}`;
  await Promise.all([
    refuses(sign('--in absent --out s'), 'not-found', /absent: no such file/),
    refuses(sign('--in . --out s'), 'usage', /is a folder/),
    refuses('keyreeve key show no/such', 'not-found', /no\/such/),
  ]);
  await refuses(sign('--in message --out no/such/folder/s'), 'not-found', /no such/);
  await refuses('keyreeve encrypt wrong --raw --in message --out e', 'usage', /sign/);
  await refuses(sign('--in message --out s --scheme rsa-pss-sha256'), 'usage', /error: /);
  await refuses(
    'keyreeve key create wrong --algorithm p-256 --purpose sign',
    'conflict',
    /there is a key named wrong already/,
  );
  await refuses('keyreeve key create x --algorithm rsa-512 --purpose sign', 'usage', /rsa-512/);
  await refuses('keyreeve verify wrong --in - --signature -', 'usage', /standard input/);
  await refuses('keyreeve status', 'unavailable', /does not answer/, {
    KEYREEVE_URL: 'https://127.0.0.1:1',
    KEYREEVE_TOKEN: 'x',
  });
  await refuses('keyreeve --ca-file message status', 'usage', /holds no certificate/);
});

test('ciphertexts that were altered, cut or are of another kind do not open', async () => {
  await must(`keyreeve key create bulk --algorithm aes-256 --purpose encrypt
    keyreeve encrypt bulk --in message --out bulk.file
    keyreeve encrypt bulk --raw --in message --out bulk.raw --context message
    head -c -1 bulk.file > cut.file; head -c -1 bulk.raw > cut.raw`);
  await refuses('keyreeve decrypt bulk --in cut.file --out no', 'no', /error: /);
  const refused = await attempt('keyreeve decrypt bulk --raw --in cut.raw --out no');
  assert.equal(refused.code, exitCodes.no);
  await refuses('keyreeve decrypt bulk --in bulk.raw --out no', 'no', /error: /);
  await refuses('keyreeve decrypt bulk --raw --in bulk.file --out no', 'usage', /encrypted file/);
  await refuses('keyreeve re-encrypt bulk --in bulk.file --out no', 'usage', /encrypted file/);
  await assert.rejects(async () => readFileSync(file('no')), { code: 'ENOENT' });
  // The context belongs to it, and a rotated key brings it to its newest version.
  await must(`keyreeve key rotate bulk
    keyreeve re-encrypt bulk --in bulk.raw --out bulk.new --context message`);
  const opened = await must(
    'keyreeve decrypt bulk@2 --raw --in bulk.new --out - --context message',
  );
  assert.equal(opened.stdout.toString(), 'a message\n');
  assert.equal((await attempt('keyreeve decrypt bulk --raw --in bulk.new --out -')).code, 1);
});

test('standard input and output serve every command that takes files', async () => {
  await must('keyreeve key create pipe/sign --algorithm ed25519 --purpose sign');
  await must('keyreeve key create pipe/seal --algorithm aes-256 --purpose encrypt');
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 251));
  writeFileSync(file('bytes'), bytes);
  const signed = await must('keyreeve sign pipe/sign --in - --out -', bytes);
  assert.equal(signed.stdout.length, 64);
  const valid = await must('keyreeve verify pipe/sign --in bytes --signature -', signed.stdout);
  assert.equal(valid.stdout.toString(), 'valid: pipe/sign, version 1\n');
  const altered = await runScript(
    installation,
    'keyreeve verify pipe/sign --in bytes --signature -',
    {
      input: Buffer.alloc(64),
    },
  );
  assert.deepEqual([altered.code, altered.stdout.toString()], [1, 'not valid\n']);
  for (const raw of ['', '--raw']) {
    const back = await must(
      `keyreeve encrypt pipe/seal ${raw} --in - --out - | keyreeve decrypt pipe/seal ${raw} --in - --out -`,
      bytes,
    );
    assert.deepEqual(back.stdout, bytes);
  }
});

test('a reader that closes early ends a command quietly', async () => {
  await must('keyreeve key create early --algorithm aes-256 --purpose encrypt');
  writeFileSync(file('zeros'), Buffer.alloc(3_000_000));
  for (const command of [
    'keyreeve random 65536 --out -',
    'keyreeve encrypt early --in zeros --out -',
    'keyreeve audit list --limit 500',
    'keyreeve man',
  ]) {
    const ran = await attempt(`(${command} 2> err; echo $? > status) | head -c 1 | wc -c`);
    assert.equal(ran.stdout.toString().trim(), '1', command);
    assert.equal(readFileSync(file('err'), 'utf8'), '', command);
    assert.equal(readFileSync(file('status'), 'utf8'), '0\n', command);
  }
});

test('commands that run at once share a profile', async () => {
  const ran = await must(`for word in "audit verify" "status" "audit verify" "audit verify"; do
      keyreeve $word > /dev/null & done; failed=0
    for job in $(jobs -p); do wait $job || failed=1; done; exit $failed`);
  assert.doesNotMatch(ran.stderr, /error/);
  const profile = readFileSync(join(installation.folder, 'config/keyreeve/profile.json'), 'utf8');
  assert.equal(Object.keys(JSON.parse(profile).records).length, 1);
});

test('config check names what is wrong, and is quiet otherwise', async () => {
  const good = await must('keyreeve config check');
  assert.match(good.stdout.toString(), /^ok: no file, data in /);
  const bad = await attempt('keyreeve config check', {
    KEYREEVE_PORT: 'many',
    KEYREEVE_DATTA: 'x',
  });
  assert.equal(bad.code, exitCodes.usage);
  assert.match(bad.stdout.toString(), /KEYREEVE_PORT \(from the environment\) is not a number/);
  assert.match(bad.stdout.toString(), /KEYREEVE_DATTA.*\n +hint: Did you mean KEYREEVE_DATA\?/);
  await refuses('keyreeve login-code', 'usage', /KEYREEVE_DATTA/, { KEYREEVE_DATTA: 'x' });
});
