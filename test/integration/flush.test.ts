import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../eventually.ts';
import { startLoggedIn } from '../service.ts';
import { requireProgram, skip, tryRun } from '../tools.ts';

const calls = 12;

test('no answer leaves before what it says is flushed to disk', async (t) => {
  const strace = requireProgram(t, 'strace');
  if (strace === undefined) return;
  if (tryRun(strace, ['-f', '-e', 'trace=fsync', 'true']).status !== 0) {
    skip(t, 'strace may not trace here');
    return;
  }
  const { installation, service, client } = await startLoggedIn(t);
  const key = 'flush/key';
  const make = (name: string) =>
    client.call('key.create', { body: { name, algorithm: 'p-256', purpose: 'sign' } });
  await make(key);
  const traced = await trace(t, strace, service.process.pid!, join(installation.folder, 'trace'));
  for (let count = 0; count < calls; count++) {
    await make(`flush/key-${count}`);
    await client.call('key.sign', { params: { key }, body: { data: 'aGVsbG8=' } });
  }
  const answers = answersOf(await traced.stop());
  assert.ok(answers.length >= 2 * calls, `only ${answers.length} answers were traced`);
  const early = answers.filter((answer) => !answer.isFlushed);
  assert.deepEqual(early, [], 'an answer left before the log was written and flushed');
});

/** Attaches to the running service, so that its start is not slowed down. */
async function trace(t: TestContext, strace: string, pid: number, file: string) {
  const wanted = 'trace=pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg';
  const tracer = spawn(strace, ['-f', '-y', '-s', '0', '-e', wanted, '-o', file, '-p', `${pid}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise((resolve) => tracer.once('exit', resolve));
  t.after(() => {
    tracer.kill('SIGKILL');
    return ended;
  });
  let said = '';
  tracer.stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  await eventually(() => /attached/.test(said), { message: 'strace does not attach' });
  return {
    async stop() {
      tracer.kill('SIGINT');
      await ended;
      return readFileSync(file, 'utf8');
    },
  };
}

interface TracedAnswer {
  readonly line: number;
  /** Whether the log was written, and then a flush of it begun and ended, since the last answer. */
  readonly isFlushed: boolean;
}

/** Reads a trace in its order. What is sent to a socket is an answer: requests are only received. */
function answersOf(text: string): TracedAnswer[] {
  const answers: TracedAnswer[] = [];
  let written = 0;
  let flushed = 0;
  let answeredAt = 0;
  const flushing = new Map<string, number>();
  for (const [line, call] of text.split('\n').entries()) {
    const thread = call.slice(0, call.indexOf(' '));
    const ofLog = call.includes('keyreeve.db-wal>');
    if (ofLog && call.includes(' pwrite64(')) written++;
    if (ofLog && /\bf(data)?sync\(/.test(call)) flushing.set(thread, written);
    const isFlush = (ofLog && /\bf(data)?sync\(/.test(call)) || /f(data)?sync resumed>/.test(call);
    if (isFlush && call.endsWith('= 0')) {
      flushed = Math.max(flushed, flushing.get(thread) ?? 0);
      flushing.delete(thread);
    }
    if (/ (write|writev|sendto|sendmsg)\(\d+<(socket|TCP)/.test(call)) {
      answers.push({ line, isFlushed: flushed > answeredAt });
      answeredAt = written;
    }
  }
  return answers;
}
