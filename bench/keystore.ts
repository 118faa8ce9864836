// `node bench/keystore.ts [seconds]`: signing through a `pkcs11:` keystore against bare calls of the
// same module, in turns, so that a machine that is busy is busy for both.
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { systemClock } from '../server/base/clock.ts';
import { newId } from '../server/base/ids.ts';
import { isRemoteKey, type RemoteKey } from '../server/crypto/crypto.ts';
import { mechanisms } from '../server/keystores/pkcs11/constants.ts';
import { createPkcs11Keystore, type Pkcs11Keystore } from '../server/keystores/pkcs11/pkcs11.ts';
import { formatPkcs11Uri } from '../server/keystores/pkcs11/uri.ts';
import { withEnvironment } from '../test/softhsm.ts';
import { run } from '../test/tools.ts';
import type { BareRequest } from './keystore-bare.ts';

const modulePath = '/usr/lib/softhsm/libsofthsm2.so';
const label = 'bench';
const pin = '1234';
const callsAtOnce = 64;
const batchItems = 50;
const batchesAtOnce = 4;
const rounds = 5;
const bareThreads = [1, 2, 4];

interface Subject {
  readonly title: string;
  readonly algorithm: 'rsa-2048' | 'p-256';
  readonly scheme: 'rsa-pkcs1-sha256' | 'ecdsa-sha256';
  readonly mechanism: number;
  /** What goes into the module: a DigestInfo, or a digest. */
  readonly inputBytes: number;
  readonly answerBytes: number;
  readonly target: { readonly single: number; readonly batch: number };
}

const subjects: readonly Subject[] = [
  {
    ...{ title: 'RSA-2048', algorithm: 'rsa-2048', scheme: 'rsa-pkcs1-sha256' },
    ...{ mechanism: mechanisms.rsaPkcs, inputBytes: 51, answerBytes: 256 },
    target: { single: 0.9, batch: 0.9 },
  },
  {
    ...{ title: 'P-256', algorithm: 'p-256', scheme: 'ecdsa-sha256' },
    ...{ mechanism: mechanisms.ecdsa, inputBytes: 32, answerBytes: 64 },
    target: { single: 0.6, batch: 0.9 },
  },
];

let counter = 0;
const seconds = Number(process.argv[2] ?? 2);
const folder = mkdtempSync(join(tmpdir(), 'keyreeve-bench-'));
const environment = { SOFTHSM2_CONF: join(folder, 'softhsm2.conf') };
prepareToken();
const keystore = openKeystore();
const bare = withEnvironment(environment, () =>
  fork(new URL('./keystore-bare.ts', import.meta.url), [modulePath, label], {
    env: { ...process.env, KEYSTORE_BARE_PIN: pin },
  }),
);

const isReady = new Promise((resolve) => bare.once('message', resolve));

try {
  await isReady;
  // Keys first: the bare process reads the token when it starts to sign.
  for (const subject of subjects) await compare(subject, await makeKey(keystore, subject));
  console.log(keystore.metrics());
} finally {
  bare.kill();
  await keystore.stop();
  rmSync(folder, { recursive: true });
}

async function compare(subject: Subject, { key, id }: { key: RemoteKey; id: string }) {
  const best: Record<string, number> = {};
  const keep = (name: string, rate: number) => {
    best[name] = Math.max(best[name] ?? 0, rate);
  };
  const { mechanism, inputBytes, answerBytes } = subject;
  for (let round = 0; round < rounds; round++) {
    for (const threads of bareThreads) {
      const request = { mechanism, id, inputBytes, answerBytes, threads, seconds };
      keep(`bare, ${threads} threads`, await measureBare(bare, request));
    }
    keep('single', await measureCalls(callsAtOnce, 1, () => key.sign(subject.scheme, message())));
    keep(
      'one after the other',
      await measureCalls(1, 1, () => key.sign(subject.scheme, message())),
    );
    const batch = () => Array.from({ length: batchItems }, message);
    const signBatch = () => key.signMany!(subject.scheme, batch());
    keep('batch', await measureCalls(batchesAtOnce, batchItems, signBatch));
  }
  const bareBest = Math.max(...bareThreads.map((threads) => best[`bare, ${threads} threads`] ?? 0));
  console.log(`${subject.title}: signatures a second, best of ${rounds} rounds of ${seconds} s`);
  for (const [name, rate] of Object.entries(best)) {
    const target = subject.target[name as 'single' | 'batch'];
    const goal = target === undefined ? '' : ` (target ${target})`;
    const ratio = (rate / bareBest).toFixed(2);
    console.log(`  ${name.padEnd(22)}${Math.round(rate).toString().padStart(8)}  ${ratio}${goal}`);
  }
}

function message(): Buffer {
  return Buffer.from(`a message of about thirty bytes ${counter++}`);
}

async function measureCalls(
  atOnce: number,
  items: number,
  call: () => Promise<unknown>,
): Promise<number> {
  let count = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  const work = async () => {
    while (performance.now() < end) {
      await call();
      count += items;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return (count / (performance.now() - start)) * 1000;
}

async function measureBare(child: ChildProcess, request: BareRequest): Promise<number> {
  const next = () => new Promise<unknown>((resolve) => child.once('message', resolve));
  child.send(request);
  return Number(await next());
}

async function makeKey(
  store: Pkcs11Keystore,
  subject: Subject,
): Promise<{ key: RemoteKey; id: string }> {
  const identity = { keyId: newId('key'), version: 1, name: 'bench/key' };
  const stored = await store.generate(identity, subject.algorithm);
  const location = { ...identity, ...stored, algorithm: subject.algorithm };
  const { privateKey } = await store.open(location);
  if (!isRemoteKey(privateKey)) throw new Error('the key is not in the token');
  const id = /id=((?:%[0-9A-F]{2})+)/.exec(stored.uri)?.[1]?.replaceAll('%', '') ?? '';
  return { key: privateKey, id };
}

function prepareToken(): void {
  mkdirSync(join(folder, 'tokens'));
  writeFileSync(environment.SOFTHSM2_CONF, `directories.tokendir = ${join(folder, 'tokens')}\n`);
  writeFileSync(join(folder, 'pin'), pin, { mode: 0o600 });
  const parameters = ['--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', '4321'];
  withEnvironment(environment, () => run('softhsm2-util', parameters));
}

function openKeystore(): Pkcs11Keystore {
  const uri = formatPkcs11Uri({
    path: { token: label },
    query: { 'module-path': modulePath, 'pin-source': `file:${join(folder, 'pin')}` },
  });
  const log = pino({ level: 'warn' });
  return createPkcs11Keystore({ name: 'bench', uri, log, clock: systemClock, environment });
}
