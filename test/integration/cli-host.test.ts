import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, type TestContext, test } from 'node:test';
import { type ExitName, exitCodes } from '../../cli/exit-codes.ts';
import { type Cleanup, makeInstallation, startService } from '../service.ts';
import { logInByCommand, mustRefuse, mustRun, runScript } from '../shell.ts';
import { findProgram, requireProgram, run } from '../tools.ts';

const command = join(dirname(dirname(import.meta.dirname)), 'bin', 'keyreeve.mjs');

// One installation that was used and stopped, with its backups: what every test here starts from.
const origin = makeInstallation({ after });
const at = (name: string) => join(origin.folder, name);
writeFileSync(at('message'), 'kept\n');
writeFileSync(at('word'), 'correct horse battery staple\n', { mode: 0o600 });
writeFileSync(at('other-word'), 'another passphrase altogether\n', { mode: 0o600 });
/** `files`, and the key of the CA that the service shows itself under. */
const keysThere = 2;
const hasAge = findProgram('age-keygen') !== undefined;
await useAndBackUp();

async function useAndBackUp(): Promise<void> {
  const service = await startService({ after }, origin);
  await logInByCommand(origin, service);
  await mustRun(
    origin,
    `keyreeve key create files --algorithm aes-256 --purpose encrypt
     keyreeve encrypt files --in message --out message.keyreeve
     keyreeve backup create backup.gpg --passphrase-file word --label nightly`,
  );
  if (hasAge) {
    await mustRun(
      origin,
      `(umask 077; age-keygen -o identity 2> age.out)
       keyreeve backup create - --recipient "$(sed -n 's/.*: //p' age.out)" > backup.age`,
    );
  }
  assert.equal(await service.stop(), 0);
}

const refuses = (
  script: string,
  code: ExitName,
  error: RegExp,
  environment: Record<string, string> = {},
) => mustRefuse(origin, script, code, error, environment);

/** A folder for a second installation, with the root key brought along unless told otherwise. */
function elsewhere(name: string, options: { rootKey: boolean } = { rootKey: true }) {
  const data = at(name);
  if (options.rootKey) cpSync(origin.seal, `${data}.seal`, { recursive: true });
  return { KEYREEVE_DATA: data, XDG_CONFIG_HOME: `${data}.config` };
}

test('serve prints that it is ready, refuses a second start, and stops when asked', async (t) => {
  const fresh = makeInstallation(t);
  const serving = await startServe(t, fresh.environment);
  assert.match(serving.lines.join('\n'), /^ready https:\/\/127\.0\.0\.1:\d+$/m);
  assert.match(serving.lines.join('\n'), /^first login: .* login --code \S+$/m);
  const second = await runScript(fresh, 'keyreeve serve');
  assert.equal(second.code, exitCodes.no);
  assert.match(second.stderr, /^error: .*\(already-running\)\nhint: /);
  serving.child.kill('SIGTERM');
  assert.equal(await serving.exited, 0);
});

test('a backup is verified where it is kept, by passphrase, identity or hash', async (t) => {
  const verify = (rest: string) => mustRun(origin, `keyreeve backup verify ${rest} --json`);
  const opened = JSON.parse((await verify('backup.gpg --passphrase-file word')).stdout.toString());
  assert.deepEqual([opened.opened, opened.sealed, opened.keys], [true, true, keysThere]);
  const [hash] = run('sha256sum', [at('backup.gpg')])
    .toString()
    .split(' ');
  const compared = JSON.parse((await verify(`backup.gpg --sha256 ${hash}`)).stdout.toString());
  assert.equal(compared.opened, false);
  const open = 'keyreeve backup verify';
  await refuses(`${open} backup.gpg --passphrase-file other-word`, 'no', /passphrase/);
  await refuses(`${open} message --passphrase-file word`, 'no', /error: /);
  await refuses(`${open} absent --passphrase-file word`, 'not-found', /absent/);
  await refuses(`${open} backup.gpg --passphrase-file absent`, 'not-found', /absent: no such file/);
  await refuses(`${open} backup.gpg`, 'usage', /--identity or --passphrase-file/);
  await refuses(`${open} backup.gpg --sha256 ${'0'.repeat(64)}`, 'no', /SHA-256/);
  await mustRun(origin, 'head -c -20 backup.gpg > cut.gpg');
  await refuses(`${open} cut.gpg --passphrase-file word`, 'no', /error: /);
  if (requireProgram(t, 'age-keygen') === undefined) return;
  await verify('backup.age --identity identity');
  await refuses(`${open} backup.gpg --identity identity`, 'no', /error: /);
});

test('a backup is restored elsewhere with the root key, and opens files made before', async (t) => {
  const place = elsewhere('restored');
  const restored = await mustRun(
    origin,
    'keyreeve backup restore - --passphrase-file word --json < backup.gpg',
    { environment: place },
  );
  assert.equal(JSON.parse(restored.stdout.toString()).keys, keysThere);
  const serving = await startServe(t, { ...origin.environment, ...place });
  await mustRun(
    origin,
    `keyreeve login-code | keyreeve --url ${serving.url} login --code -
     keyreeve decrypt files --in message.keyreeve --out restored.message
     cmp message restored.message
     keyreeve audit verify`,
    { environment: place },
  );
  // With the service running, none of the works on its data may begin.
  const word = '--passphrase-file word';
  for (const work of [`upgrade ${word}`, `root-key move ${at('moved-while-running')}`]) {
    await refuses(`keyreeve ${work}`, 'conflict', /another process serves/, place);
  }
  assert.equal(existsSync(at('moved-while-running')), false);
  const again = `keyreeve backup restore backup.gpg ${word}`;
  await refuses(again, 'conflict', /not empty/, place);
  serving.child.kill('SIGTERM');
  assert.equal(await serving.exited, 0);
});

test('restoring is refused without its root key, with another one, and leaves nothing', async () => {
  const restore = 'keyreeve backup restore backup.gpg --passphrase-file word';
  const bare = elsewhere('bare', { rootKey: false });
  await refuses(restore, 'no', /root key/, bare);
  const strange = elsewhere('strange', { rootKey: false });
  const other = makeInstallation({ after });
  await (await startService({ after }, other)).stop();
  cpSync(other.seal, `${strange.KEYREEVE_DATA}.seal`, { recursive: true });
  await refuses(restore, 'untrusted', /root key/, strange);
  const wrong = elsewhere('wrong');
  const otherWord = 'keyreeve backup restore backup.gpg --passphrase-file other-word';
  await refuses(otherWord, 'no', /passphrase/, wrong);
  for (const place of [bare, strange, wrong]) {
    assert.equal(existsSync(join(place.KEYREEVE_DATA, 'keyreeve.db')), false);
  }
});

test('upgrade says so where nothing is to do, and where there is no database', async () => {
  const upgraded = await mustRun(origin, 'keyreeve upgrade --passphrase-file word');
  assert.match(upgraded.stderr, /^nothing to do: the schema is \d+\n$/);
  const empty = elsewhere('empty', { rootKey: false });
  await refuses('keyreeve upgrade --passphrase-file word', 'not-found', /no database/, empty);
});

test('the root key is moved, and the service starts with the new one alone', async (t) => {
  const place = elsewhere('moving');
  const restore = 'keyreeve backup restore backup.gpg --passphrase-file word';
  await mustRun(origin, restore, { environment: place });
  const to = at('new-seal');
  const refusal = (where: string, code: ExitName, error: RegExp) =>
    refuses(`keyreeve root-key move ${where}`, code, error, place);
  await refusal(`${place.KEYREEVE_DATA}.seal`, 'usage', /root key is at/);
  await refusal('env:NO_SUCH_SEAL', 'no', /no root key in env:NO_SUCH_SEAL/);
  const moved = await mustRun(origin, `keyreeve root-key move ${to}`, { environment: place });
  const settings = Object.fromEntries(
    moved.stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.split('=') as [string, string]),
  );
  assert.equal(settings.KEYREEVE_SEAL, to);
  const again = await mustRun(origin, `keyreeve root-key move ${to} --json`, {
    environment: place,
  });
  assert.equal(JSON.parse(again.stdout.toString()).moved, false);
  const old = await runScript(origin, 'keyreeve serve', { environment: place });
  assert.equal(old.code, exitCodes.no);
  assert.match(old.stderr, /^error: .*\(root-key-mismatch\)\nhint: /m);
  const here = { ...place, ...settings };
  const serving = await startServe(t, { ...origin.environment, ...here });
  await mustRun(
    origin,
    `keyreeve login-code | keyreeve --url ${serving.url} login --code -
     keyreeve decrypt files --in message.keyreeve --out moved.message`,
    { environment: here },
  );
  assert.deepEqual(readFileSync(at('moved.message')), readFileSync(at('message')));
});

interface Serving {
  readonly child: ChildProcess;
  readonly url: string;
  readonly lines: readonly string[];
  readonly exited: Promise<number | null>;
}

/** Runs `keyreeve serve` until it is ready. */
async function startServe(t: Cleanup & TestContext, env: NodeJS.ProcessEnv): Promise<Serving> {
  const child = spawn(process.execPath, [command, 'serve'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  t.after(() => {
    child.kill('SIGKILL');
    return exited;
  });
  const lines: string[] = [];
  let errors = '';
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString('utf8');
  });
  const url = await new Promise<string>((resolve, reject) => {
    exited.then((code) => reject(new Error(`ended with ${code}: ${lines.join('\n')}${errors}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      // A first start says how to log in right after.
      if (line.startsWith('ready ')) setTimeout(() => resolve(line.slice('ready '.length)), 50);
    });
  });
  return { child, url, lines, exited };
}
