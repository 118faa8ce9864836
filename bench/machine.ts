/** Facts of the machine and of processes on it. */
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { opensslVersion } from './openssl-speed.ts';

/** `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;
const flushes = 50;
const flushBytes = 4096;

export interface MachineFacts {
  readonly cores: number;
  readonly processor: string;
  readonly system: string;
  readonly memoryGibibytes: number;
  readonly node: string;
  readonly opensslOfNode: string;
  /** The one that R was measured with. */
  readonly opensslProgram: string;
  /** Median of small appends with `fdatasync` on the disk of the data folder. */
  readonly flushMilliseconds: number;
}

export async function machineFacts(folder: string): Promise<MachineFacts> {
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    system: `${platform()} ${release()} ${arch()}`,
    memoryGibibytes: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    opensslOfNode: process.versions.openssl,
    opensslProgram: await opensslVersion(),
    flushMilliseconds: flushTime(folder),
  };
}

/** Processor time that a process has used, all threads; undefined where the system does not say. */
export function cpuSecondsOf(pid: number): number | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may hold spaces; user and system time are fields 14 and 15 (proc(5)).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Resident memory of a process in mebibytes; undefined where the system does not say. */
export function residentMebibytes(pid: number): number | undefined {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(`/proc/${pid}/status`) ?? '');
  return found === null ? undefined : Math.round(Number(found[1]) / 1024);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function flushTime(folder: string): number {
  const path = join(folder, 'flush');
  const file = openSync(path, 'w');
  const bytes = Buffer.alloc(flushBytes, 1);
  try {
    return median(
      Array.from({ length: flushes }, () => {
        const startedAt = performance.now();
        writeSync(file, bytes);
        fdatasyncSync(file);
        return performance.now() - startedAt;
      }),
    );
  } finally {
    closeSync(file);
    rmSync(path);
  }
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
