// Plain JavaScript for any Node from 20 on: it runs before anything is installed.
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const beatSeconds = 1;
/** A holder that has not touched its lock for so long is gone: killed, or its machine restarted. */
export const staleSeconds = 15;

/**
 * Does the work while holding the folder as a lock; waits while another process holds it. The
 * holder touches the folder while it lives, so that the lock of a killed one is taken over.
 * @param {string} folder
 * @param {(line: string) => void} say
 * @param {(signal: AbortSignal) => Promise<void>} work stops early when the signal is aborted
 * @param {{ beat: number, stale: number }} seconds
 */
export async function withFolderLock(
  folder,
  say,
  work,
  seconds = { beat: beatSeconds, stale: staleSeconds },
) {
  const owner = randomUUID();
  await acquire(folder, owner, say, seconds.stale);
  const stopping = new AbortController();
  const beat = setInterval(() => {
    if (ownerOf(folder) !== owner) return stopping.abort();
    const now = new Date();
    utimesSync(folder, now, now);
  }, seconds.beat * 1000);
  const stop = () => stopping.abort();
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    await work(stopping.signal);
  } finally {
    clearInterval(beat);
    process.off('SIGINT', stop).off('SIGTERM', stop);
    if (ownerOf(folder) === owner) rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} folder
 * @param {string} owner
 * @param {(line: string) => void} say
 * @param {number} stale seconds
 */
async function acquire(folder, owner, say, stale) {
  let said = false;
  for (;;) {
    if (tryToMake(folder, owner)) {
      // Someone who saw an old lock here may be removing it this moment, and ours with it.
      await sleep(100);
      if (ownerOf(folder) === owner) return;
      continue;
    }
    if (ageSeconds(folder) > stale) rmSync(folder, { recursive: true, force: true });
    else if (!said) {
      say(`another process is installing the packages (${folder}): waiting for it ...`);
      said = true;
    }
    await sleep(50 + Math.random() * 200);
  }
}

/**
 * @param {string} folder
 * @param {string} owner
 */
function tryToMake(folder, owner) {
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, 'owner'), owner, { flag: 'wx' });
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' || code === 'ENOENT') return false;
    throw error;
  }
}

/** @param {string} folder */
function ownerOf(folder) {
  try {
    return readFileSync(join(folder, 'owner'), 'utf8');
  } catch {
    return undefined;
  }
}

/** @param {string} folder */
function ageSeconds(folder) {
  try {
    return Math.abs(Date.now() - statSync(folder).mtimeMs) / 1000;
  } catch {
    return 0;
  }
}
