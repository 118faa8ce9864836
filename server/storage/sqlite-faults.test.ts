import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { requireProgram, run, skip, tryRun } from '../../test/tools.ts';
import { isKeyreeveError } from '../base/errors.ts';
import {
  addMeta,
  entry,
  eventually,
  metaNames,
  openAt,
  startChild,
  tailDetails,
} from './storage.fixture.ts';
import { hasCode } from './storage.suite.ts';

const root = mkdtempSync(join(tmpdir(), 'keyreeve-faults-'));
after(() => rmSync(root, { recursive: true, force: true }));

const mebibyte = 1024 * 1024;

test('every acknowledged write is there after kill -9', async () => {
  const dataFolder = join(root, 'killed');
  const acknowledged = new Set<string>();
  for (let round = 0; round < 3; round++) {
    // Fresh names each time: the child counts from zero again.
    const place = { dataFolder: `${dataFolder}-${round}` };
    const child = startChild(place, 'commit');
    await child.line('acknowledged');
    await new Promise((resolve) => setTimeout(resolve, 100 + 150 * round));
    child.process.kill('SIGKILL');
    await child.ended;
    acknowledged.clear();
    for (const line of child.lines) {
      if (line.startsWith('acknowledged ')) acknowledged.add(line.slice('acknowledged '.length));
    }
    const storage = await openAt(place);
    const names = new Set(await metaNames(storage));
    const entries = new Set(await tailDetails(storage));
    for (const name of acknowledged) assert.ok(names.has(name), `${name} was lost`);
    assert.deepEqual(entries, names, 'a write and its entry are not both there');
    assert.ok(acknowledged.size > 8, 'too few writes to prove anything');
    await storage.close();
  }
});

test('a writer thread that ends is started again, and its callers are told', async (t) => {
  const storage = await openAt({ dataFolder: join(root, 'thread') });
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
  const ending = storage.commit({ steps: [], entries: [entry('end the thread')] });
  await assert.rejects(ending, hasCode('outcome-unknown'));
  await assert.rejects(storage.commit({ steps: [], entries: [] }), hasCode('storage-unavailable'));
  await eventually(() => storage.health().ready);
  await storage.commit({ steps: [addMeta(storage, 'after')], entries: [] });
  assert.deepEqual(await metaNames(storage), ['after', 'before']);
});

test('the log is flushed before a commit is acknowledged', async (t) => {
  const strace = requireProgram(t, 'strace');
  if (strace === undefined) return;
  if (tryRun(strace, ['-f', '-e', 'trace=fsync', 'true']).status !== 0) {
    skip(t, 'strace may not trace here');
    return;
  }
  const trace = join(root, 'trace');
  const calls = 'trace=openat,pwrite64,fsync,fdatasync,write,writev';
  const wrapper = [strace, '-f', '-y', '-s', '64', '-e', calls, '-o', trace];
  const child = startChild({ dataFolder: join(root, 'traced') }, 'commit-alone', wrapper);
  // The traced process itself: a tracer that is killed lets it go on.
  const pid = Number((await child.line('ready'))?.split(' ')[1]);
  await child.line('acknowledged 0-40');
  process.kill(pid, 'SIGKILL');
  await child.ended;
  const acknowledged = countProven(readFileSync(trace, 'utf8'));
  assert.ok(acknowledged > 40, `only ${acknowledged} acknowledgements were traced`);
});

/**
 * Reads the trace of a process that waits for each answer. At every acknowledgement something must
 * have been written to the log since the one before, and all of it flushed: by a flush that began
 * after the last writing and has ended.
 */
function countProven(trace: string): number {
  let written = 0;
  let flushing = 0;
  let flushed = 0;
  let writtenBefore = 0;
  let acknowledged = 0;
  for (const line of trace.split('\n')) {
    const ofLog = line.includes('keyreeve.db-wal>');
    if (ofLog && line.includes('pwrite64(')) written++;
    if (ofLog && /f(data)?sync\(/.test(line)) {
      flushing = written;
      if (line.endsWith('= 0')) flushed = flushing;
    } else if (/f(data)?sync resumed>.*= 0$/.test(line)) {
      flushed = flushing;
    } else if (/write\(1<[^>]*>, "acknowledged /.test(line)) {
      assert.ok(written > writtenBefore, 'acknowledged before it was written');
      assert.equal(flushed, written, 'acknowledged before it was flushed');
      writtenBefore = written;
      acknowledged++;
    }
  }
  return acknowledged;
}

test('a full disk refuses writes, loses nothing, and is served again when there is room', async (t) => {
  const folder = mountPoint(t, 'full', (mount, target) =>
    tryRun(mount, ['-t', 'tmpfs', '-o', 'size=4m,mode=700', 'none', target]),
  );
  if (folder === undefined) return;
  const storage = await openAt({ dataFolder: join(folder, 'data') });
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
  fill(join(folder, 'filler'));
  const large = 'x'.repeat(mebibyte);
  const write = (name: string) =>
    storage.commit({ steps: [addMeta(storage, name, large)], entries: [] });
  await assert.rejects(write('refused'), hasCode('storage-full'));
  await assert.rejects(write('refused again'), hasCode('storage-full'));
  assert.equal(storage.health().ready, false);
  assert.match(storage.health().reason ?? '', /full/);
  assert.deepEqual(await metaNames(storage), ['before']);
  rmSync(join(folder, 'filler'));
  await eventually(() => storage.health().ready);
  await write('after');
  assert.deepEqual(await metaNames(storage), ['after', 'before']);
});

test('a disk that hangs is given up in time, and the write is there when it answers', async (t) => {
  const fsfreeze = requireProgram(t, 'fsfreeze');
  const makeFileSystem = requireProgram(t, 'mkfs.ext4');
  if (fsfreeze === undefined || makeFileSystem === undefined) return;
  const image = join(root, 'image');
  writeFileSync(image, Buffer.alloc(32 * mebibyte));
  run(makeFileSystem, ['-q', '-F', image]);
  const folder = mountPoint(t, 'frozen', (mount, target) =>
    tryRun(mount, ['-o', 'loop', image, target]),
  );
  if (folder === undefined) return;
  const storage = await openAt({ dataFolder: join(folder, 'data') }, { commitTimeoutSeconds: 1 });
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
  run(fsfreeze, ['--freeze', folder]);
  const thaw = () => tryRun(fsfreeze, ['--unfreeze', folder]);
  t.after(thaw);

  let ticks = 0;
  const ticker = setInterval(() => ticks++, 10);
  const started = performance.now();
  const stuck = storage.commit({ steps: [addMeta(storage, 'stuck')], entries: [entry('stuck')] });
  await assert.rejects(stuck, (error) => {
    assert.ok(isKeyreeveError(error, 'outcome-unknown'));
    assert.equal(error.status, 503);
    assert.match(error.hint ?? '', /same idempotency key/);
    return true;
  });
  const waited = performance.now() - started;
  clearInterval(ticker);
  assert.ok(waited > 900 && waited < 2500, `the answer took ${waited} ms`);
  assert.ok(ticks > 30, `the event loop stood still: ${ticks} ticks`);
  const later = performance.now();
  const write = { steps: [addMeta(storage, 'later')], entries: [] };
  await assert.rejects(storage.commit(write), hasCode('storage-unavailable'));
  assert.ok(performance.now() - later < 200, 'a write that was not sent waited for the disk');
  assert.equal(storage.health().ready, false);

  assert.equal(thaw().status, 0);
  await eventually(() => storage.health().ready);
  assert.deepEqual(await metaNames(storage), ['before', 'stuck']);
  assert.deepEqual(await tailDetails(storage), ['stuck']);
  await storage.commit(write);
});

/** Mounts something for one test; undefined, and the test skipped by name, where that is not allowed. */
function mountPoint(
  t: TestContext,
  name: string,
  attach: (mount: string, target: string) => { status: number | null; stderr: Buffer },
): string | undefined {
  const mount = requireProgram(t, 'mount');
  const unmount = requireProgram(t, 'umount');
  if (mount === undefined || unmount === undefined) return undefined;
  const target = join(root, name);
  mkdirSync(target);
  const { status, stderr } = attach(mount, target);
  if (status !== 0) {
    skip(t, `a file system cannot be mounted here (${stderr.toString('utf8').trim()})`);
    return undefined;
  }
  after(() => tryRun(unmount, ['--lazy', target]));
  return target;
}

/** Writes until the disk is full. */
function fill(path: string): void {
  const block = Buffer.alloc(64 * 1024);
  for (const size of [block.length, 4096, 1]) {
    try {
      for (;;) writeFileSync(path, block.subarray(0, size), { flag: 'a', mode: 0o600 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}
