/** Certificates from requests, and a long CRL: what the service makes of them a second. */
import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { SchemeName } from '../api/algorithms.ts';
import {
  assembleSigned,
  certificatePem,
  encodeName,
  encodeRequest,
  encodeTbsCertificate,
  keyIdentifier,
  parseName,
} from '../server/x509/x509.ts';
import type { BareOrder } from './bare-issuing.ts';
import type { Requests } from './calls.ts';
import { httpRequest } from './connection.ts';
import type { LoadResult } from './load.ts';
import { median } from './machine.ts';
import { type Bench, best, measure, placed } from './measure.ts';
import { batchItems } from './primitives.ts';

/** Different keys, more than the service keeps of those it has seen: each is read anew. */
const requestCount = 2000;
const crlEntries = 100_000;
const importLines = 10_000;
/** Serial number, date, reason. */
const entryBytesMin = 30;
const dayMilliseconds = 86_400_000;

export interface IssuingRow {
  readonly title: string;
  /** On all cores, without network, database and record. */
  readonly barePerSecond: number;
  readonly single: IssuingFigures;
  readonly batch: IssuingFigures;
}

export interface IssuingFigures {
  readonly perSecond: number;
  readonly ratio: number;
  readonly connections: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  readonly serverCpuMicroseconds: number | undefined;
}

export interface CrlRow {
  readonly entries: number;
  readonly bytes: number;
  /** From the end of the take-over until a caller has it: read, encoded, signed, stored, sent. */
  readonly publishSeconds: number;
  /** The longest that another call, sent all the while, had to wait for its answer. */
  readonly longestCallMilliseconds: number;
}

const issuers = [
  { title: 'P-256 leaf, P-256 issuer', algorithm: 'p-256', scheme: 'ecdsa-sha256' },
  { title: 'P-256 leaf, RSA-3072 issuer', algorithm: 'rsa-3072', scheme: 'rsa-pkcs1-sha256' },
] as const;

/** The rows of issuing: for each issuer bare work, single calls and batches, in rounds. */
export async function measureIssuing(bench: Bench): Promise<IssuingRow[]> {
  const requests = makeRequests();
  const rows: IssuingRow[] = [];
  for (const issuer of issuers) {
    bench.say(`certificates, ${issuer.title}: how many connections`);
    const { single, batch } = await prepare(bench, issuer.algorithm, issuer.scheme, requests);
    const connections = {
      single: await best(bench, single, bench.effort.singleConnections),
      batch: await best(bench, batch, bench.effort.batchConnections),
    };
    // Much code takes part in issuing: it is compiled in the first ten seconds of load.
    await measure(bench, batch, connections.batch, bench.effort.issuingWarmMilliseconds);
    const rounds: { bare: number; single: LoadResult; batch: LoadResult }[] = [];
    for (let round = 1; round <= bench.effort.rounds; round++) {
      bench.say(`certificates, ${issuer.title}: round ${round} of ${bench.effort.rounds}`);
      await placed(bench);
      const bare = await bareRate(bench, issuer.algorithm, issuer.scheme, requests);
      const one = await measure(bench, single, connections.single);
      await placed(bench);
      const many = await measure(bench, batch, connections.batch);
      check(one, many);
      rounds.push({ bare, single: one, batch: many });
    }
    const figures = (kind: 'single' | 'batch', items: number): IssuingFigures => {
      const middle = (of: (result: LoadResult) => number) =>
        median(rounds.map((round) => of(round[kind])));
      const isKnown = rounds.every((round) => round[kind].serverCpuMicroseconds !== undefined);
      return {
        perSecond: middle((result) => result.callsPerSecond) * items,
        ratio: median(rounds.map((round) => (round[kind].callsPerSecond * items) / round.bare)),
        connections: connections[kind],
        p50Milliseconds: middle((result) => result.p50Milliseconds),
        p99Milliseconds: middle((result) => result.p99Milliseconds),
        serverCpuMicroseconds: isKnown
          ? middle((result) => result.serverCpuMicroseconds! / items)
          : undefined,
      };
    };
    rows.push({
      title: issuer.title,
      barePerSecond: median(rounds.map(({ bare }) => bare)),
      single: figures('single', 1),
      batch: figures('batch', batchItems),
    });
  }
  return rows;
}

async function prepare(
  bench: Bench,
  algorithm: string,
  scheme: SchemeName,
  requests: readonly Buffer[],
): Promise<{ single: Requests; batch: Requests }> {
  const target = bench.service;
  const { client, token } = target.login;
  const ca = await client.call('ca.create', {
    body: { name: `bench/ca-${algorithm}`, subject: `CN=Bench ${algorithm}`, algorithm, scheme },
  });
  const items = requests.map((der) => ({
    ca: ca.id,
    profile: 'tls-server',
    csr: der.toString('base64'),
  }));
  const path = '/api/v1/certificates';
  const batches: Buffer[] = [];
  for (let from = 0; from + batchItems <= items.length; from += batchItems) {
    const body = { items: items.slice(from, from + batchItems) };
    batches.push(httpRequest('POST', `${path}/batch`, token, body));
  }
  const singles = items.map((item) => httpRequest('POST', path, token, item));
  return { single: { target, list: singles }, batch: { target, list: batches } };
}

function makeRequests(): Buffer[] {
  return Array.from({ length: requestCount }, (_, index) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const name = `host-${index}.example.org`;
    const toSign = encodeRequest(
      encodeName(parseName(`CN=${name}`)),
      { subjectAltNames: [{ kind: 'dns', value: name }] },
      publicKey.export({ type: 'spki', format: 'der' }),
    );
    return assembleSigned(toSign, 'ecdsa-sha256', sign('sha256', toSign, privateKey));
  });
}

/** Bare work on every core at once. */
async function bareRate(
  bench: Bench,
  algorithm: 'p-256' | 'rsa-3072',
  scheme: SchemeName,
  requests: readonly Buffer[],
): Promise<number> {
  const { privateKey } =
    algorithm === 'p-256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 3072 });
  const order: BareOrder = {
    requests,
    issuerKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
    scheme,
    milliseconds: bench.effort.opensslSeconds * 1000,
  };
  const program = join(import.meta.dirname, 'bare-issuing.ts');
  const rates = await Promise.all(
    Array.from({ length: bench.cores }, async () => {
      const [rate] = await once(new Worker(program, { workerData: order }), 'message');
      return rate as number;
    }),
  );
  return rates.reduce((sum, rate) => sum + rate, 0);
}

/** Samples must be certificates that the CA they came from has signed. */
function check(single: LoadResult, batch: LoadResult): void {
  const one = JSON.parse(single.sample) as { certificate: string };
  if (!new X509Certificate(one.certificate).subject.startsWith('CN=host-')) {
    throw new Error('a certificate that was answered is for somebody else');
  }
  const { items } = JSON.parse(batch.sample) as {
    items: { certificate?: { certificate: string }; error?: { message: string } }[];
  };
  const failed = items.find(({ error }) => error !== undefined);
  if (failed !== undefined) throw new Error(`a batch failed in part: ${failed.error!.message}`);
  if (items.length !== batchItems) throw new Error('a batch was not answered in full');
}

/** A CA with a list of revoked serial numbers is taken over; then its CRL is published. */
export async function measureCrl(bench: Bench): Promise<CrlRow> {
  const { client } = bench.service.login;
  bench.say(`a CRL of ${crlEntries} entries: taking over`);
  const { key, certificate } = await foreignAuthority();
  const name = 'bench/taken-over';
  await client.call('ca.import', { body: { name, key, certificate, crlNumber: '0A' } });
  for (let from = 0; from < crlEntries; from += importLines) {
    const lines = Array.from({ length: importLines }, (_, index) => indexLine(from + index));
    await client.call('ca.import-certificates', {
      params: { ca: name },
      body: { index: lines.join('') },
    });
  }
  bench.say('publishing it');
  let longest = 0;
  let isDone = false;
  const probing = (async () => {
    while (!isDone) {
      const calledAt = performance.now();
      await client.call('random.make', { body: { length: 16 } });
      longest = Math.max(longest, performance.now() - calledAt);
    }
  })();
  const startedAt = performance.now();
  await client.call('ca.import-finish', {
    params: { ca: name },
    body: { issued: crlEntries, revoked: crlEntries },
  });
  let bytes = 0;
  const crl = await client.stream('crl.get', { params: { ca: name }, query: { fresh: 'true' } });
  for await (const piece of crl) bytes += piece.length;
  const publishSeconds = (performance.now() - startedAt) / 1000;
  isDone = true;
  await probing;
  if (bytes < crlEntries * entryBytesMin) throw new Error(`a CRL of ${bytes} bytes is not whole`);
  return { entries: crlEntries, bytes, publishSeconds, longestCallMilliseconds: longest };
}

/** A CA as somebody else made it: self-signed, with its key. */
async function foreignAuthority(): Promise<{ key: string; certificate: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const name = encodeName(parseName('CN=Taken over'));
  const now = Math.floor(Date.now() / 1000) * 1000;
  const toSign = encodeTbsCertificate({
    serial: Buffer.from('01', 'hex'),
    scheme: 'ecdsa-sha256',
    issuer: name,
    subject: name,
    notBefore: now - 365 * dayMilliseconds,
    notAfter: now + 3650 * dayMilliseconds,
    spki,
    extensions: {
      basicConstraints: { isAuthority: true },
      keyUsage: ['keyCertSign', 'cRLSign'],
      subjectKeyId: keyIdentifier(spki),
    },
  });
  const der = assembleSigned(toSign, 'ecdsa-sha256', sign('sha256', toSign, privateKey));
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    certificate: certificatePem(der),
  };
}

/** A line of openssl's index: a certificate that was revoked before its end. */
function indexLine(index: number): string {
  const serial = (0x10_0000 + index).toString(16).toUpperCase();
  return `R\t351231235959Z\t260101000000Z,superseded\t${serial}\tunknown\t/CN=host-${index}\n`;
}
