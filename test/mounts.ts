import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { requireProgram, run, skip, tryRun } from './tools.ts';

const mebibyte = 1024 * 1024;

export interface Mount {
  /** The folder of the file system. */
  readonly folder: string;
  /** Unmounts and removes it; asked twice it does nothing the second time. */
  remove(): void;
}

/** A small file system in memory; undefined, and the test skipped by name, where that is not allowed. */
export function mountTmpfs(t: TestContext, sizeMebibytes: number): Mount | undefined {
  return attach(t, (mount, target) => {
    const options = `size=${sizeMebibytes}m,mode=700`;
    return tryRun(mount, ['-t', 'tmpfs', '-o', options, 'none', target]);
  });
}

export interface FreezableMount extends Mount {
  /** Everything that writes to it hangs from now on. */
  freeze(): void;
  thaw(): void;
}

/** A file system on a loop device that can be made to hang; undefined where that is not allowed. */
export function mountFreezable(t: TestContext): FreezableMount | undefined {
  const fsfreeze = requireProgram(t, 'fsfreeze');
  const makeFileSystem = requireProgram(t, 'mkfs.ext4');
  if (fsfreeze === undefined || makeFileSystem === undefined) return undefined;
  const images = mkdtempSync(join(tmpdir(), 'keyreeve-image-'));
  t.after(() => rmSync(images, { recursive: true, force: true }));
  const image = join(images, 'image');
  writeFileSync(image, Buffer.alloc(32 * mebibyte));
  run(makeFileSystem, ['-q', '-F', image]);
  const mount = attach(t, (program, target) => tryRun(program, ['-o', 'loop', image, target]));
  if (mount === undefined) return undefined;
  let frozen = false;
  const thaw = () => {
    if (frozen) tryRun(fsfreeze, ['--unfreeze', mount.folder]);
    frozen = false;
  };
  return {
    folder: mount.folder,
    freeze: () => {
      run(fsfreeze, ['--freeze', mount.folder]);
      frozen = true;
    },
    thaw,
    remove: () => {
      thaw();
      mount.remove();
    },
  };
}

/** Writes until the disk is full. */
export function fillDisk(path: string): void {
  const block = Buffer.alloc(64 * 1024);
  for (const size of [block.length, 4096, 1]) {
    try {
      for (;;) writeFileSync(path, block.subarray(0, size), { flag: 'a', mode: 0o600 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}

function attach(
  t: TestContext,
  call: (mount: string, target: string) => { status: number | null; stderr: Buffer },
): Mount | undefined {
  const mount = requireProgram(t, 'mount');
  const unmount = requireProgram(t, 'umount');
  if (mount === undefined || unmount === undefined) return undefined;
  const root = mkdtempSync(join(tmpdir(), 'keyreeve-mount-'));
  const target = join(root, 'disk');
  mkdirSync(target);
  const { status, stderr } = call(mount, target);
  let mounted = status === 0;
  const remove = () => {
    if (mounted) tryRun(unmount, ['--lazy', target]);
    mounted = false;
    rmSync(root, { recursive: true, force: true });
  };
  if (mounted) return { folder: target, remove };
  remove();
  skip(t, `a file system cannot be mounted here (${stderr.toString('utf8').trim()})`);
  return undefined;
}
