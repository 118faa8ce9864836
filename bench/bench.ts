// `npm run bench`: how fast the service is, as ratios to what the machine could do at best.
// docs/benchmarks.md says how each figure is measured.
//   --quick          seconds instead of minutes: shows that everything works
//   --only NAME      one of rsa-2048, p-256, ed25519, aes-256, certificates, keys, connections, workers
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { version } from '../server/base/version.ts';
import { measureCrl, measureIssuing } from './certificates.ts';
import { measureHandshakes } from './handshakes.ts';
import { LoadGenerator } from './load.ts';
import { machineFacts, median, residentMebibytes } from './machine.ts';
import { measureKeys } from './many-keys.ts';
import {
  type Bench,
  fullEffort,
  measurePrimitive,
  type PrimitiveRow,
  placed,
  quickEffort,
} from './measure.ts';
import { primitives } from './primitives.ts';
import { type Results, toMarkdown } from './report.ts';
import { logIn, type StartedService, startProcess } from './service-process.ts';
import { measureSideBySide } from './side-by-side.ts';

const starts = 7;
const project = dirname(import.meta.dirname);
const resultsFolder = join(project, 'bench', 'results');

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const chosen = primitives.filter(
  ({ algorithm }) => options.only === undefined || algorithm === options.only,
);
const others = ['certificates', 'keys', 'connections', 'workers'] as const;
const isWanted = (name: (typeof others)[number]) =>
  options.only === undefined || options.only === name;
if (chosen.length === 0 && !others.some(isWanted)) {
  console.error(`error: there is nothing to measure named "${options.only}"`);
  const known = [...primitives.map(({ algorithm }) => algorithm), ...others];
  console.error(`hint: choose one of: ${known.join(', ')}`);
  process.exit(2);
}

const startedAt = performance.now();
mkdirSync(resultsFolder, { recursive: true });
// On the disk of the clone: a folder in memory would make every flush free.
const folder = mkdtempSync(join(resultsFolder, '.running-'));
const running: { stop(): Promise<void> }[] = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().then(() => process.exit(130)));
}
try {
  const results = await run();
  const path = join(resultsFolder, results.time.replaceAll(':', '-'));
  const text = toMarkdown(results);
  writeFileSync(`${path}.json`, `${JSON.stringify(results, undefined, 2)}\n`);
  writeFileSync(`${path}.md`, text);
  console.log(text);
  say(`written to ${path}.json and .md`);
} finally {
  await cleanUp();
}

async function run(): Promise<Results> {
  const time = new Date().toISOString();
  const machine = await machineFacts(folder);
  const data = join(folder, 'data');

  say('making an installation');
  const first = await startProcess(data);
  running.push(first);
  const login = await logIn(first);
  await first.stop();

  say(`time to ready: ${starts} starts`);
  const readySeconds: number[] = [];
  for (let count = 0; count < starts; count++) {
    const service = await startProcess(data);
    readySeconds.push(service.readyMilliseconds / 1000);
    await service.stop();
  }

  const service = await started(startProcess(data));
  const emptyRoute = await started(
    startProcess(join(folder, 'empty'), join(import.meta.dirname, 'empty-route.ts')),
  );
  const load = new LoadGenerator(Math.max(1, machine.cores >> 1));
  running.push({ stop: async () => load.close() });
  const bench: Bench = {
    service: { service, login: login.at(service.url) },
    empty: { service: emptyRoute, login: await logIn(emptyRoute) },
    load,
    cores: machine.cores,
    effort: options.quick ? quickEffort : fullEffort,
    say,
  };
  const residentAtStart = residentMebibytes(service.pid);
  const loadStartedAt = performance.now();
  const rows: PrimitiveRow[] = [];
  for (const primitive of chosen) rows.push(await measurePrimitive(bench, primitive));
  const issuing = isWanted('certificates') ? await measureIssuing(bench) : [];
  const crl = isWanted('certificates') ? await measureCrl(bench) : undefined;
  const connections = isWanted('connections') ? await measureHandshakes(bench) : undefined;
  await placed(bench);
  const { record } = await bench.service.login.client.call('status');
  const loadSeconds = (performance.now() - loadStartedAt) / 1000;
  const residentAfterLoad = residentMebibytes(service.pid);
  const keys = isWanted('keys')
    ? await measureKeys(bench, folder, (one) => running.push(one))
    : undefined;
  const workers = isWanted('workers')
    ? await measureSideBySide(bench, folder, (one) => running.push(one))
    : undefined;
  return {
    time,
    version: version(),
    machine,
    rows,
    issuing,
    crl,
    connections,
    keys,
    workers,
    start: {
      readySeconds: median(readySeconds),
      starts,
      residentMebibytes: residentAtStart,
      residentAfterLoadMebibytes: residentAfterLoad,
    },
    record: { entries: record.size, entriesPerSecond: record.size / loadSeconds },
    seconds: (performance.now() - startedAt) / 1000,
  };
}

async function started(starting: Promise<StartedService>): Promise<StartedService> {
  const service = await starting;
  running.push(service);
  return service;
}

async function cleanUp(): Promise<void> {
  for (const { stop } of running.splice(0).reverse()) await stop();
  rmSync(folder, { recursive: true, force: true });
}

/** Progress goes to standard error: standard output holds the table alone. */
function say(text: string): void {
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  process.stderr.write(`[${String(seconds).padStart(3)} s] ${text}\n`);
}
