import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../../../test/eventually.ts';
import { startSoftHsm } from '../../../test/softhsm.ts';
import { requireProgram } from '../../../test/tools.ts';

/** Holds the files of all tokens: SoftHSM2 waits for them within whatever it is asked. */
const holdFiles = `
import fcntl, glob, sys, time
held = [open(path, 'r+b') for path in glob.glob(sys.argv[1] + '/tokens/*/*')]
for file in held: fcntl.lockf(file, fcntl.LOCK_EX)
print(len(held), flush=True)
time.sleep(60)
`;

function start(t: TestContext, program: string, parameters: readonly string[]): ChildProcess {
  const child = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

for (const state of ['well', 'hanging'] as const) {
  test(`a module that is ${state} does not outlive a service that was killed`, async (t) => {
    const python = requireProgram(t, 'python3');
    const hsm = startSoftHsm(t);
    if (python === undefined || hsm === undefined) return;
    t.after(() => hsm.remove());
    const script = fileURLToPath(new URL('./service.child.ts', import.meta.url));
    const service = start(t, process.execPath, [script, hsm.uri]);
    let answers = 0;
    let pid = 0;
    service.stdout!.on('data', (text: Buffer) => {
      answers++;
      pid = Number(text.toString().trim().split('\n').at(-1));
    });
    await eventually(() => pid > 0);
    if (state === 'hanging') {
      const holder = start(t, python, ['-c', holdFiles, hsm.folder]);
      const [held] = await once(holder.stdout!, 'data');
      assert.ok(Number(held) > 0);
      let before = -1;
      await eventually(async () => {
        before = answers;
        await new Promise((resolve) => setTimeout(resolve, 400));
        return answers === before;
      });
    }
    assert.equal(isAlive(pid), true);
    service.kill('SIGKILL');
    await eventually(() => !isAlive(pid), { milliseconds: 8000 });
  });
}
