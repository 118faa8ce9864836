/**
 * Bare calls of a PKCS #11 module in one process: what `bench/keystore.ts` compares with. Started
 * with the path of the module, the label of the token and its PIN in KEYSTORE_BARE_PIN; told the
 * mechanism, the key and the number of threads; answers with signatures a second.
 */
import { createRequire } from 'node:module';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { NativeModule } from '../server/keystores/pkcs11/child/addon.ts';
import { attributes, objectClasses } from '../server/keystores/pkcs11/constants.ts';

export interface BareRequest {
  readonly mechanism: number;
  /** CKA_ID in hex. */
  readonly id: string;
  readonly inputBytes: number;
  readonly answerBytes: number;
  readonly threads: number;
  readonly seconds: number;
}

interface ThreadWork {
  readonly path: string;
  readonly slot: Uint8Array;
  readonly request: BareRequest;
}

const sessionFlags = 6;
const osLockingOk = 2;
const userType = 1;

function load(path: string): NativeModule {
  const addon = createRequire(import.meta.url)('pkcs11js') as { PKCS11: new () => NativeModule };
  const module = new addon.PKCS11();
  module.load(path);
  return module;
}

async function serveMain(): Promise<void> {
  const [path = '', label = ''] = process.argv.slice(2);
  const module = load(path);
  module.C_Initialize({ flags: osLockingOk });
  const slot = module
    .C_GetSlotList(true)
    .find((one) => module.C_GetTokenInfo(one).label.trimEnd() === label);
  if (slot === undefined) throw new Error('no such token');
  module.C_Login(module.C_OpenSession(slot, sessionFlags), userType, process.env.KEYSTORE_BARE_PIN);
  process.on('message', async (request: BareRequest) => {
    process.send?.(await measure({ path, slot, request }));
  });
  process.send?.('ready');
}

/** The sum of what the threads reach in the same seconds. */
async function measure(work: ThreadWork): Promise<number> {
  const threads = Array.from(
    { length: work.request.threads },
    () => new Worker(new URL(import.meta.url), { workerData: work }),
  );
  const next = (thread: Worker) =>
    new Promise<unknown>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
    });
  await Promise.all(threads.map(next));
  const rates = Promise.all(threads.map(next));
  for (const thread of threads) thread.postMessage('go');
  const sum = ((await rates) as number[]).reduce((total, rate) => total + rate, 0);
  await Promise.all(threads.map((thread) => thread.terminate()));
  return sum;
}

function serveThread({ path, slot, request }: ThreadWork): void {
  const module = load(path);
  const session = module.C_OpenSession(Buffer.from(slot), sessionFlags);
  module.C_FindObjectsInit(session, [
    { type: attributes.class, value: objectClasses.private },
    { type: attributes.id, value: Buffer.from(request.id, 'hex') },
  ]);
  const key = module.C_FindObjects(session, 1)[0];
  module.C_FindObjectsFinal(session);
  if (key === undefined) throw new Error('no such key');
  const mechanism = { mechanism: request.mechanism };
  const input = Buffer.alloc(request.inputBytes, 7);
  const output = Buffer.alloc(request.answerBytes);
  parentPort?.once('message', () => {
    let count = 0;
    const start = performance.now();
    const end = start + request.seconds * 1000;
    while (performance.now() < end) {
      module.C_SignInit(session, mechanism, key);
      module.C_Sign(session, input, output);
      count++;
    }
    parentPort?.postMessage((count / (performance.now() - start)) * 1000);
    module.C_CloseSession(session);
  });
  parentPort?.postMessage('ready');
}

if (isMainThread) await serveMain();
else serveThread(workerData as ThreadWork);
