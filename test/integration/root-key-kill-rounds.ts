import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type Installation, startService } from '../service.ts';
import { startSoftHsm, type TestSoftHsm } from '../softhsm.ts';
import { firstStart, makeKey, opens, restart, type Site, sealIn } from './root-key.fixture.ts';

const script = join(import.meta.dirname, '..', '..', 'bin', 'keyreeve.mjs');

/** Moments of a move at which it is killed, and which root key is in force then. */
export const moments = {
  'before the new key is made': 'old',
  'when the new key is in the token': 'either',
  'when the new one is in force': 'new',
} as const;
export type Moment = keyof typeof moments;

/**
 * Moves the root key from one key of a token to the next, killed at each of these moments; after
 * each, exactly one of the two is in force, and all that was encrypted opens with it.
 */
export async function killMoves(
  t: TestContext,
  isOnline: boolean,
  whens: readonly Moment[],
): Promise<void> {
  const hsm = startSoftHsm(t);
  if (hsm === undefined) return;
  t.after(() => hsm.remove());
  let current = sealIn(hsm, 'root 0');
  let site = await firstStart(t, current);
  const ciphertext = await makeKey(site.client);
  for (const [index, when] of whens.entries()) {
    const next = sealIn(hsm, `root ${index + 1}`);
    if (!isOnline) await site.service.stop();
    await killedMove(site, next, momentOf(when, hsm, site, next, isOnline), isOnline);
    const inForce = placeInForce(site.installation);
    const found = inForce === next ? 'new' : 'old';
    t.diagnostic(`killed ${when}: the ${found} one is in force`);
    if (moments[when] !== 'either') assert.equal(found, moments[when], when);
    const other = inForce === current ? next : current;
    await assert.rejects(startService(t, site.installation, { KEYREEVE_SEAL: other }));
    current = inForce;
    site = await restart(t, site, { KEYREEVE_SEAL: current });
    await opens(site.client, ciphertext);
    assert.equal((await site.client.call('audit.verify', { body: {} })).ok, true);
  }
}

/** Waits for a moment of the move that is about to begin. */
function momentOf(
  when: Moment,
  hsm: TestSoftHsm,
  { installation }: Site,
  next: string,
  isOnline: boolean,
): () => Promise<void> {
  const objects = objectsOf(hsm);
  const begun = performance.now();
  const conditions: Record<Moment, () => boolean> = {
    // The command on the host records none: it is caught while it begins.
    'before the new key is made': () =>
      isOnline ? countIntents(installation) > 0 : performance.now() - begun > 300,
    'when the new key is in the token': () => objectsOf(hsm) > objects,
    'when the new one is in force': () => placeInForce(installation) === next,
  };
  return async () => {
    const end = performance.now() + 60_000;
    while (!conditions[when]()) {
      if (performance.now() > end) throw new Error(`the moment ${when} did not come`);
      await setTimeout(2);
    }
  };
}

/** Kills the service, or the command on the host, at a moment of the move. */
async function killedMove(
  { installation, service, command }: Site,
  to: string,
  moment: () => Promise<unknown>,
  isOnline: boolean,
): Promise<void> {
  if (isOnline) {
    const moving = command(['root-key', 'move', to, '--online']);
    await moment();
    await service.stop('SIGKILL');
    await moving;
    return;
  }
  const child = spawn(process.execPath, [script, 'root-key', 'move', to], {
    env: installation.environment,
    stdio: 'ignore',
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await moment();
  child.kill('SIGKILL');
  await exited;
}

function objectsOf({ folder }: TestSoftHsm): number {
  const names = readdirSync(join(folder, 'tokens'), { recursive: true }) as string[];
  return names.filter((name) => name.endsWith('.object')).length;
}

function placeInForce(installation: Installation): string {
  const sql = "SELECT value FROM meta WHERE name = 'root-key-place'";
  return String(readDatabase(installation, sql)?.value);
}

function countIntents(installation: Installation): number {
  const sql = "SELECT count(*) AS count FROM intent WHERE kind = 'root-key.move'";
  return Number(readDatabase(installation, sql)?.count ?? 0);
}

/** Of a copy: whoever serves the database has it for himself. A copy that is torn says nothing. */
function readDatabase({ data, folder }: Installation, sql: string) {
  const copy = mkdtempSync(join(folder, 'copy-'));
  for (const name of ['keyreeve.db', 'keyreeve.db-wal']) {
    if (existsSync(join(data, name))) copyFileSync(join(data, name), join(copy, name));
  }
  try {
    const database = new DatabaseSync(join(copy, 'keyreeve.db'));
    try {
      return database.prepare(sql).get();
    } finally {
      database.close();
    }
  } catch {
    return undefined;
  } finally {
    rmSync(copy, { recursive: true });
  }
}
