/** What a million keys cost those who use a thousand of them. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Requests, Target } from './calls.ts';
import { httpRequest } from './connection.ts';
import { fillKeys } from './fill-keys.ts';
import type { LoadResult } from './load.ts';
import { median, residentMebibytes } from './machine.ts';
import { type Bench, best, measure, placed } from './measure.ts';
import { primitives } from './primitives.ts';
import { type LoggedIn, logIn, type StartedService, startProcess } from './service-process.ts';

const workingKeys = 1000;
const starts = 3;
/** Questions of one kind, of which the median counts. */
const questions = 9;

export interface KeysRow {
  /** How many keys the larger installation has; the smaller has those that are used. */
  readonly keys: number;
  readonly workingKeys: number;
  readonly fillSeconds: number;
  readonly databaseMebibytes: number;
  readonly readySeconds: number;
  readonly residentMebibytes: number | undefined;
  readonly smaller: KeysFigures;
  readonly larger: KeysFigures;
  /** Calls a second with many keys through calls a second with few. */
  readonly ratio: number;
  readonly answers: readonly Question[];
}

export interface KeysFigures {
  readonly perSecond: number;
  readonly serverCpuMicroseconds: number | undefined;
  /** The first call of each key: read, opened, authorised. */
  readonly firstCallMilliseconds: number;
}

/** What a caller asks of the larger installation, and how long it takes. */
export interface Question {
  readonly title: string;
  readonly milliseconds: number;
}

interface Installation {
  readonly target: Target;
  readonly requests: Requests;
  readonly residentMebibytes: number | undefined;
  readonly firstCallMilliseconds: number;
}

interface Filled {
  readonly data: string;
  readonly login: LoggedIn;
  readonly ids: readonly string[];
  readonly seconds: number;
}

/** Two installations side by side; both are loaded in turn, a round each. */
export async function measureKeys(
  bench: Bench,
  folder: string,
  onStarted: (service: StartedService) => void,
): Promise<KeysRow> {
  const { effort, say } = bench;
  const few = await fill(bench, join(folder, 'few'), workingKeys);
  const many = await fill(bench, join(folder, 'many'), effort.manyKeys);
  const readySeconds = await startsOf(many);
  const smaller = await installation(few, onStarted);
  const larger = await installation(many, onStarted);
  const connections = await best(bench, smaller.requests, effort.singleConnections);
  await measure(bench, larger.requests, connections, effort.keysWarmMilliseconds);
  await measure(bench, smaller.requests, connections, effort.keysWarmMilliseconds);
  const rounds: { smaller: LoadResult; larger: LoadResult }[] = [];
  for (let round = 1; round <= effort.rounds; round++) {
    say(`keys: round ${round} of ${effort.rounds}`);
    const one = await loaded(bench, smaller, connections);
    rounds.push({ smaller: one, larger: await loaded(bench, larger, connections) });
  }
  const figures = (kind: 'smaller' | 'larger', { firstCallMilliseconds }: Installation) => ({
    perSecond: median(rounds.map((round) => round[kind].callsPerSecond)),
    serverCpuMicroseconds: medianOf(rounds.map((round) => round[kind].serverCpuMicroseconds)),
    firstCallMilliseconds,
  });
  return {
    keys: effort.manyKeys,
    workingKeys,
    fillSeconds: many.seconds,
    databaseMebibytes: Math.round(statSync(join(many.data, 'keyreeve.db')).size / 2 ** 20),
    readySeconds,
    residentMebibytes: larger.residentMebibytes,
    smaller: figures('smaller', smaller),
    larger: figures('larger', larger),
    ratio: median(
      rounds.map((round) => round.larger.callsPerSecond / round.smaller.callsPerSecond),
    ),
    answers: await ask(larger.target.login),
  };
}

async function fill({ say }: Bench, folder: string, count: number): Promise<Filled> {
  say(`making ${count.toLocaleString('en-US')} keys`);
  const data = join(folder, 'data');
  const service = await startProcess(data);
  const login = await logIn(service);
  const ownerId = (await login.client.call('principal.list', { query: {} })).items[0]!.id;
  await service.stop();
  const startedAt = performance.now();
  const ids = await fillKeys({ data, count, ownerId, say });
  return { data, login, ids, seconds: (performance.now() - startedAt) / 1000 };
}

async function startsOf({ data }: Filled): Promise<number> {
  const seconds: number[] = [];
  for (let start = 0; start < starts; start++) {
    const service = await startProcess(data);
    seconds.push(service.readyMilliseconds / 1000);
    await service.stop();
  }
  return median(seconds);
}

/** Starts it, and calls each key that will be used for the first time, one after the other. */
async function installation(
  { data, login, ids }: Filled,
  onStarted: (service: StartedService) => void,
): Promise<Installation> {
  const service = await startProcess(data);
  onStarted(service);
  const resident = residentMebibytes(service.pid);
  const target = { service, login: login.at(service.url) };
  const plaintext = Buffer.alloc(encrypting.inputBytes, 1);
  const body = encrypting.item(plaintext);
  // Spread evenly: as many folders and pages of the database as can be.
  const used = Array.from({ length: workingKeys }, (_, index) => {
    return ids[Math.floor((index * ids.length) / workingKeys)]!;
  });
  const startedAt = performance.now();
  for (const key of used) {
    const items = [{ plaintext: body.plaintext! }];
    await target.login.client.call('key.encrypt.batch', { params: { key }, body: { items } });
  }
  return {
    target,
    residentMebibytes: resident,
    firstCallMilliseconds: (performance.now() - startedAt) / workingKeys,
    requests: {
      target,
      list: used.map((key) =>
        httpRequest('POST', `/api/v1/keys/${key}/encrypt`, login.token, body),
      ),
    },
  };
}

const encrypting = primitives.find(({ purpose }) => purpose === 'encrypt')!;

async function loaded(
  bench: Bench,
  { target, requests }: Installation,
  connections: number,
): Promise<LoadResult> {
  await placed({ ...bench, service: target });
  return measure(bench, requests, connections);
}

/** Questions that look at more than one key. */
async function ask({ client }: LoggedIn): Promise<Question[]> {
  const lastName = (await client.call('key.list', { query: { limit: 1, after: 'many/0' } })).next;
  const asked: [string, (count: number) => Promise<unknown>][] = [
    ['first page of the list', () => client.call('key.list', { query: {} })],
    ['a page further on', () => client.call('key.list', { query: { after: lastName! } })],
    [
      'a page of one folder',
      () => client.call('key.list', { query: { folder: 'many/0000', limit: 100 } }),
    ],
    [
      'a key by its name',
      (count) => client.call('key.show', { params: { key: `many/0000/00${count}` } }),
    ],
    ['status', () => client.call('status')],
  ];
  const found: Question[] = [];
  for (const [title, call] of asked) {
    const times: number[] = [];
    for (let count = 0; count < questions; count++) {
      const startedAt = performance.now();
      await call(count);
      times.push(performance.now() - startedAt);
    }
    found.push({ title, milliseconds: median(times) });
  }
  return found;
}

function medianOf(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length < values.length ? undefined : median(known);
}
