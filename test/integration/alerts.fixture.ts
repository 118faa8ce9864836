import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ApiClient } from '../../client/api-client.ts';
import { makeCa } from '../doubles/https-service.ts';
import { type ReceiverProcess, startReceiver } from '../doubles/receiver-process.ts';
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { commandLine, startLoggedIn, startService } from '../service.ts';
import { run } from '../tools.ts';

interface Delivery {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Outage {
  /** How long the receiver is down. */
  readonly downSeconds: number;
  /** Alerts before, during and after the kill of the service, each. */
  readonly alerts: number;
}

/**
 * A receiver of webhooks is down while things happen and while the service is killed; afterwards it
 * gets everything, in order, signed.
 */
export async function sufferOutage(t: TestContext, { downSeconds, alerts }: Outage): Promise<void> {
  const key = randomBytes(32);
  const ca = makeCa();
  const port = await freePort();
  const up = (): Promise<ReceiverProcess> =>
    startReceiver(t, process.execPath, 'webhook-receiver.ts', [String(port)], ca);
  const { installation, service, login, client } = await startLoggedIn(t);
  const file = (name: string, text: string) => {
    writeFileSync(join(installation.folder, name), text, { mode: 0o600 });
    return name;
  };
  const words = commandLine(installation, service, login);
  const before = await up();
  const added = await words([
    ...['alert', 'add', 'siem', '--webhook', `https://127.0.0.1:${port}/hook?of=keyreeve`],
    ...['--secret-file', file('hook.key', `whsec_${key.toString('base64')}\n`)],
    ...['--ca', file('hook-ca.pem', ca.pem), '--kind', 'key-suspended', '--kind', 'test'],
    ...['--severity', 'informational'],
  ]);
  assert.equal(added.code, 0, added.stderr);
  const tried = await words(['alert', 'test', 'siem']);
  assert.equal(tried.code, 0, tried.stdout + tried.stderr);

  const names: string[] = [];
  const suspendSome = async (caller: ApiClient) => {
    for (let index = 0; index < alerts; index++) {
      const name = `key-${names.length}`;
      await caller.call('key.create', { body: { name, algorithm: 'ed25519', purpose: 'sign' } });
      await caller.call('key.state', { params: { key: name }, body: { state: 'suspended' } });
      names.push(name);
    }
  };
  await suspendSome(client);
  await eventually(() => before.received.length > names.length);

  const downSince = performance.now();
  before.stop();
  await suspendSome(client);
  const failing = async () => await client.call('alert.show', { params: { target: 'siem' } });
  await eventually(async () => (await failing()).failingSince !== null);
  assert.equal((await failing()).reason, 'the connection was refused');
  assert.equal((await words(['alert', 'test', 'siem'])).code, 1);
  service.process.kill('SIGKILL');
  const next = login.at((await startService(t, installation)).url);
  await suspendSome(next);
  const left = downSeconds * 1000 - (performance.now() - downSince);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, left)));
  const [target] = (await next.call('status', {})).alerts.targets;
  assert.ok((target?.waiting ?? 0) >= alerts && target?.failingSince !== null);

  const after = await up();
  // Whoever mends a receiver tries it: then nothing waits for its time.
  await next.call('alert.test', { params: { target: 'siem' }, body: {} });
  const deliveries = (): Delivery[] => [...before.received, ...after.received];
  const kept = () =>
    withoutRepeats(
      deliveries()
        .map(dataOf)
        .filter(({ kind }) => kind !== 'test'),
    );
  await eventually(() => kept().length >= names.length);
  assert.deepEqual(
    kept().map(({ keyName }) => keyName),
    names,
  );
  for (const delivery of deliveries()) requireSigned(delivery, key);
  await eventually(async () => {
    const [now] = (await next.call('status', {})).alerts.targets;
    return now?.waiting === 0 && now.failingSince === null;
  });
}

function dataOf({ body }: Delivery) {
  return JSON.parse(body).data as { id: string; kind: string; keyName?: string };
}

/** At least once: what was sent again is known by its id. */
function withoutRepeats<One extends { id: string }>(all: readonly One[]): One[] {
  return [...new Map(all.map((one) => [one.id, one])).values()];
}

/** HMAC by openssl over id, time and body. */
function requireSigned({ headers, body }: Delivery, key: Buffer): void {
  const words = ['-sha256', '-mac', 'HMAC', '-macopt', `hexkey:${key.toString('hex')}`, '-binary'];
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const mac = run('openssl', ['dgst', ...words], signed);
  assert.equal(headers['webhook-signature'], `v1,${mac.toString('base64')}`);
  assert.equal(headers['webhook-id'], dataOf({ headers, body }).id);
}
