import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { contentOf } from '../test/file-format-cases.ts';

// Real processes, pipes and signals.
let folder = '';
let opened = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keyreeve-encrypted-file-'));
  opened = join(folder, 'opened');
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('pipes', () => {
  test('the content is encrypted as it comes through real pipes, and a closed one is an error', async () => {
    const script = programFor(`
      const dataKey = new SecretBytes(Buffer.alloc(32, 1));
      const key = { keyId: 'key_abcdefghijklmnopqrstuvwxyz', keyVersion: 1,
        wrappedDataKey: Buffer.alloc(8), dataKey };
      await encryptFile({ inPath: '-', outPath: '-', obtainDataKey: async () => key })
        .catch((error) => { console.error(error.name); process.exitCode = 3; });`);
    const input = contentOf(1_000_000);
    const whole = spawnSync(process.execPath, script, { input, maxBuffer: 2_000_000 });
    assert.equal(whole.status, 0, whole.stderr.toString());
    assert.equal(whole.stdout.length, 83 + 8 + 32 + 1_000_000 + 16 * 16);
    const child = spawn(process.execPath, script, { stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => undefined);
    child.stdout.once('data', () => child.stdout.destroy());
    const errors: Buffer[] = [];
    child.stderr.on('data', (piece) => errors.push(piece));
    child.stdin.end(contentOf(5_000_000));
    const [code] = await once(child, 'close');
    assert.equal(`${code} ${Buffer.concat(errors)}`, '3 KeyreeveError\n');
  });
});

describe('signals', () => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`${signal} removes the temporary file and ends the process`, async () => {
      const child = startEndless('');
      await temporaryFile();
      child.kill(signal);
      const [, ended] = await once(child, 'exit');
      assert.equal(ended, signal);
      assert.deepEqual(readdirSync(folder), []);
    });
  }

  test('a program that listens itself gets an error and goes on', async () => {
    const child = startEndless(`process.on('SIGTERM', () => undefined);`);
    await temporaryFile();
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    assert.equal(code, 7);
    assert.deepEqual(readdirSync(folder), []);
  });

  /** Encrypts input that never ends, and exits with 7 when that was interrupted. */
  function startEndless(preparation: string) {
    const script = programFor(`
      ${preparation}
      await encryptFile({ inPath: '-', outPath: ${JSON.stringify(opened)},
        standardInput: endlessContent(), obtainDataKey: async () => ({
          keyId: 'key_abcdefghijklmnopqrstuvwxyz', keyVersion: 1, wrappedDataKey: Buffer.alloc(8),
          dataKey: new SecretBytes(Buffer.alloc(32, 1)) }) })
        .catch((error) => { process.exitCode = error.code === 'shutting-down' ? 7 : 8; });
      async function* endlessContent() {
        for (;;) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          yield Buffer.alloc(65_536);
        }
      }`);
    return spawn(process.execPath, script, { stdio: 'ignore' });
  }

  async function temporaryFile(): Promise<void> {
    const isThere = () => readdirSync(folder).some((name) => name.startsWith('.keyreeve-'));
    for (let tries = 0; tries < 500 && !isThere(); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.ok(isThere(), 'the temporary file never came');
    assert.ok(!existsSync(opened), 'the output has no name yet');
  }
});

/** What starts node on a module that knows the functions under test. */
function programFor(body: string): string[] {
  const imported = (name: string, path: string) =>
    `import { ${name} } from ${JSON.stringify(import.meta.resolve(path))};`;
  return [
    '--input-type=module',
    '--eval',
    `${imported('encryptFile', './encrypted-file.ts')}
     ${imported('SecretBytes', '../server/base/secret-bytes.ts')}
     ${body}`,
  ];
}
