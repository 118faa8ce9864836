import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import type { ApiClient } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { eventually } from '../eventually.ts';
import { startLoggedIn } from '../service.ts';
import { startSoftHsm, type TestSoftHsm } from '../softhsm.ts';

/** In each of the two tests: a thousand in all. */
const signatures = 500;
const workers = 4;
const pageSize = 500;
/** With two tokens, nobody waits longer than this. */
const pauseMillisecondsMax = 2000;

type Service = Awaited<ReturnType<typeof startLoggedIn>>;

/** The process of the service that holds the module for this token. */
function childOf(service: Service['service'], token: TestSoftHsm): number | undefined {
  const setting = `SOFTHSM2_CONF=${token.environment.SOFTHSM2_CONF}`;
  const isOurs = (pid: number) => {
    try {
      const parent = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      if (Number(parent) !== service.process.pid) return false;
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      return environment.includes(setting);
    } catch {
      return false;
    }
  };
  return readdirSync('/proc')
    .map(Number)
    .find((pid) => pid > 0 && isOurs(pid));
}

interface Outcome {
  readonly made: number;
  readonly refused: number;
  readonly wrong: number;
  readonly longestPauseMilliseconds: number;
}

/**
 * Has several callers sign different messages until there are enough signatures, asking again when
 * told to; `faults` run one after the other, each when so many signatures are there.
 */
async function signAll(
  client: ApiClient,
  key: string,
  faults: readonly (() => Promise<void>)[],
): Promise<Outcome> {
  const shown = await client.call('key.show', { params: { key } });
  const publicKey = createPublicKey(shown.versions[0]!.publicKey!);
  const seen = new Set<string>();
  let asked = 0;
  let refused = 0;
  let wrong = 0;
  let lastAt = performance.now();
  let longestPauseMilliseconds = 0;
  let made = 0;
  const sign = async (index: number): Promise<void> => {
    const message = Buffer.from(`message ${index}`);
    const body = { data: message.toString('base64') };
    for (;;) {
      try {
        const answer = await client.call('key.sign', { params: { key }, body });
        const signature = Buffer.from(answer.signature, 'base64');
        const now = performance.now();
        longestPauseMilliseconds = Math.max(longestPauseMilliseconds, now - lastAt);
        lastAt = now;
        made++;
        if (!verify('sha256', message, publicKey, signature)) wrong++;
        if (seen.has(answer.signature)) wrong++;
        seen.add(answer.signature);
        return;
      } catch (error) {
        // Nothing but the error that says: try again.
        assert.ok(isKeyreeveError(error, 'keystore-unavailable'), String(error));
        refused++;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  };
  const work = async () => {
    while (asked < signatures) await sign(asked++);
  };
  const injecting = (async () => {
    for (const [index, fault] of faults.entries()) {
      const start = ((index + 1) * signatures) / (faults.length + 1);
      await eventually(() => made >= start, { milliseconds: 120_000 });
      await fault();
    }
  })();
  await Promise.all([injecting, ...Array.from({ length: workers }, work)]);
  return { made, refused, wrong, longestPauseMilliseconds };
}

/** How many entries the record has for signing with a key, by outcome. */
async function countEntries(client: ApiClient, key: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  let after: string | undefined;
  do {
    const query = { key, action: 'key.sign', limit: pageSize, ...(after && { after }) };
    const page = await client.call('audit.list', { query });
    for (const { outcome } of page.items) {
      counts.set(String(outcome), (counts.get(String(outcome)) ?? 0) + 1);
    }
    after = page.next ?? undefined;
  } while (after !== undefined);
  return counts;
}

async function eventsOf(client: ApiClient, resource: string): Promise<string[]> {
  const { items } = await client.call('audit.list', { query: { limit: pageSize } });
  return items
    .filter((entry) => entry.resource === resource && entry.kind === 'event')
    .map((entry) => String(entry.action));
}

async function isReady(client: ApiClient, name: string): Promise<boolean> {
  const { items } = await client.call('keystore.list', {});
  return items.find((one) => one.name === name)?.ready === true;
}

/** The faults of a token: its process ends, it hangs, it is pulled and put back. */
function faultsOf({ service, client }: Service, token: TestSoftHsm, name: string) {
  const child = async () => {
    await eventually(() => childOf(service, token) !== undefined);
    return childOf(service, token)!;
  };
  return [
    async () => void process.kill(await child(), 'SIGKILL'),
    // A stopped process answers nothing and does not end: as a module that hangs.
    async () => void process.kill(await child(), 'SIGSTOP'),
    async () => {
      await eventually(() => isReady(client, name), { milliseconds: 60_000 });
      token.takeAway();
      await eventually(async () => !(await isReady(client, name)), { milliseconds: 60_000 });
      token.putBack();
    },
  ];
}

function twoTokens(t: TestContext): { first: TestSoftHsm; second: TestSoftHsm } | undefined {
  const first = startSoftHsm(t);
  if (first === undefined) return undefined;
  const second = startSoftHsm(t)!;
  t.after(() => {
    first.remove();
    second.remove();
  });
  return { first, second };
}

test('a token that fails in every way gives no wrong and no unrecorded signature', async (t) => {
  const tokens = twoTokens(t);
  if (tokens === undefined) return;
  const started = await startLoggedIn(t);
  const { client, service } = started;
  const pid = service.process.pid;
  await client.call('keystore.add', { body: { name: 'hsm', uri: tokens.first.uri } });
  await client.call('key.create', {
    body: { name: 'k', algorithm: 'p-256', purpose: 'sign', keystore: 'hsm' },
  });
  const outcome = await signAll(client, 'k', faultsOf(started, tokens.first, 'hsm'));
  assert.deepEqual([outcome.made, outcome.wrong], [signatures, 0]);
  const counts = await countEntries(client, 'k');
  assert.equal(counts.get('ok'), signatures, 'each signature has its entry');
  assert.equal(counts.get('keystore-unavailable') ?? 0, outcome.refused);
  assert.equal(counts.size, outcome.refused > 0 ? 2 : 1);
  await eventually(async () => (await eventsOf(client, 'hsm')).includes('keystore.available'));
  const events = await eventsOf(client, 'hsm');
  assert.ok(events.includes('keystore.unavailable'), 'the record says that the token was away');
  assert.equal(service.process.pid, pid);
  assert.equal(service.process.exitCode, null, 'the service was not restarted');
  t.diagnostic(JSON.stringify(outcome));
});

test('with two tokens in a group, signing goes on within two seconds', async (t) => {
  const tokens = twoTokens(t);
  if (tokens === undefined) return;
  const started = await startLoggedIn(t);
  const { client, service } = started;
  await client.call('keystore.add', { body: { name: 'a', uri: tokens.first.uri } });
  await client.call('keystore.add', { body: { name: 'b', uri: tokens.second.uri } });
  await client.call('keystore.group', { body: { name: 'both', primary: 'a', secondary: 'b' } });
  await client.call('key.create', {
    body: { name: 'k', algorithm: 'p-256', purpose: 'sign', keystore: 'both' },
  });
  const shown = await client.call('keystore.show', { params: { keystore: 'both' } });
  assert.deepEqual(shown.unmirrored, [], 'the key is in both');
  const outcome = await signAll(client, 'k', faultsOf(started, tokens.first, 'a'));
  assert.deepEqual([outcome.made, outcome.wrong], [signatures, 0]);
  assert.ok(
    outcome.longestPauseMilliseconds < pauseMillisecondsMax,
    `signing stood still for ${outcome.longestPauseMilliseconds} ms`,
  );
  const counts = await countEntries(client, 'k');
  assert.equal(counts.get('ok'), signatures, 'each signature has its entry');
  assert.equal(counts.get('keystore-unavailable') ?? 0, outcome.refused);
  // Back to the primary, and all of it on the record.
  const active = async () =>
    (await client.call('keystore.show', { params: { keystore: 'both' } })).group?.active;
  await eventually(async () => (await active()) === 'primary', { milliseconds: 90_000 });
  await eventually(async () => (await eventsOf(client, 'both')).includes('keystore.failback'));
  const events = await eventsOf(client, 'both');
  const count = (action: string) => events.filter((one) => one === action).length;
  assert.ok(count('keystore.failover') >= 1);
  assert.equal(count('keystore.failover'), count('keystore.failback'));
  assert.equal(service.process.exitCode, null, 'the service was not restarted');
  const drill = await client.call('keystore.drill', { params: { keystore: 'both' }, body: {} });
  assert.deepEqual([drill.ok, drill.isShared, drill.members.length], [true, true, 2]);
  t.diagnostic(JSON.stringify(outcome));
});
