import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiClient, type ClientCertificate, createClient } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { run } from '../tools.ts';
import type { Cluster, ClusterNode } from './cluster.ts';
import { clientCa, insist, pause, sharedKey } from './cluster-load.ts';

const machine = 'machine';
const machineName = 'machine.example.test';
const askEveryMilliseconds = 60;
/** No node honours what was revoked for longer, counted from the answer to the revocation. */
const honouredMillisecondsMax = 1000;
/** An answer that left in time is seen this much later where the machine is busy. */
const seenLateMilliseconds = 150;
/** What a process had begun to send when it was stopped is there at once when it wakes. */
const wakingMillisecondsMax = 50;
/** Longer than a node is frozen, so that what it says after waking is heard. */
const patienceSeconds = 30;

const asked = ['principal.show', 'key.sign', 'key.verify'] as const;
const data = Buffer.from('asked by a witness').toString('base64');

/** Something that logs in and will be revoked. */
export interface Credential {
  readonly kind: 'token' | 'certificate';
  /** Id of the token, or serial number. */
  readonly id: string;
  readonly secret: { token: string } | { token: undefined; clientCertificate: ClientCertificate };
}

/** Makes tokens, and certificates that log in, as an administrator would. */
export class CredentialMaker {
  readonly #client: ApiClient;
  readonly #key: Buffer;
  readonly #csr: string;

  private constructor(client: ApiClient, key: Buffer, csr: string) {
    this.#client = client;
    this.#key = key;
    this.#csr = csr;
  }

  static async open(cluster: Cluster): Promise<CredentialMaker> {
    const client = cluster.client(cluster.nodes[0]!.url);
    await client.call('ca.create', {
      body: { name: clientCa, subject: 'CN=Clients', algorithm: 'p-256' },
    });
    const body = { name: machine, kind: 'service' as const, roles: ['administrator'] };
    await client.call('principal.create', { body });
    await client.call('principal.bind', {
      params: { principal: machine },
      body: { ca: clientCa, kind: 'dns', value: machineName },
    });
    const folder = mkdtempSync(join(tmpdir(), 'keyreeve-machine-'));
    const [key, csr] = [join(folder, 'key'), join(folder, 'csr')];
    const fresh = ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    run('openssl', [
      ...[...fresh, '-nodes', '-subj', `/CN=${machine}`, '-keyout', key, '-out', csr],
      ...['-addext', `subjectAltName=DNS:${machineName}`],
    ]);
    const maker = new CredentialMaker(client, readFileSync(key), readFileSync(csr, 'utf8'));
    rmSync(folder, { recursive: true });
    return maker;
  }

  async token(): Promise<Credential> {
    const body = { principal: machine, ttlSeconds: 3600 };
    const { id, token } = await insist(this.#client, 'token.create', { body });
    return { kind: 'token', id, secret: { token } };
  }

  async certificate(): Promise<Credential> {
    const { serial, certificate } = await insist(this.#client, 'certificate.issue', {
      body: { ca: clientCa, profile: 'tls-client', csr: this.#csr },
    });
    const clientCertificate = { certificate: certificate!, key: this.#key };
    return { kind: 'certificate', id: serial, secret: { token: undefined, clientCertificate } };
  }
}

/** Revokes at a node; resolves with the moment when that was answered. */
export async function revoke(client: ApiClient, { kind, id }: Credential): Promise<number> {
  if (kind === 'token') await insist(client, 'token.revoke', { params: { token: id } });
  else await insist(client, 'certificate.revoke', { params: { serial: id }, body: {} });
  return performance.now();
}

/**
 * Asks every node directly and all the time with a credential, by calls that write an entry and calls
 * that write none, each over a connection of its own that is kept.
 */
export class Witnesses {
  readonly #credential: Credential;
  readonly #all: readonly Witness[];

  constructor(cluster: Cluster, credential: Credential) {
    this.#credential = credential;
    this.#all = cluster.nodes.flatMap((node) =>
      asked.map((what) => new Witness(cluster, node, credential, what)),
    );
  }

  /** Resolves when each node has let the credential in on each way, those excepted. */
  async begin(except: readonly ClusterNode[] = []): Promise<void> {
    for (const witness of this.#all) void witness.run();
    for (let wait = 0; wait < 300; wait++) {
      if (this.#all.every((one) => except.includes(one.node) || one.lastLetIn > 0)) return;
      await pause(100);
    }
    throw new Error(`a ${this.#credential.kind} was not let in before it was revoked`);
  }

  /** Waits until every node has refused it. */
  async end(revokedAt: number): Promise<Honoured[]> {
    for (let wait = 0; wait < 300 && !this.#all.every((one) => one.isRefused); wait++) {
      await pause(100);
    }
    await Promise.all(this.#all.map((one) => one.end()));
    return this.#all.map(({ node, what, lastLetIn, isRefused }) => ({
      node,
      where: `${node.name} ${what} with a ${this.#credential.kind}`,
      lastLetIn,
      milliseconds: lastLetIn - revokedAt,
      isRefused,
    }));
  }
}

/** How long a node honoured what was revoked, on one of the ways. */
export interface Honoured {
  readonly node: ClusterNode;
  readonly where: string;
  /** Of `performance.now()`. */
  readonly lastLetIn: number;
  /** After the revocation was answered; negative where nobody was let in after that. */
  readonly milliseconds: number;
  readonly isRefused: boolean;
}

/**
 * What was honoured for too long. A process that is stopped between its last look and the write to
 * the socket sends that one answer when it wakes, and nothing can keep it from that: one answer of a
 * frozen node, in the moment of its waking, is such a one. Two are not.
 */
export function problemsOf(
  all: readonly Honoured[],
  frozen: { readonly node: ClusterNode; readonly wokeAt: number } | undefined,
): { problems: string[]; longest: number } {
  const late = all.filter(
    ({ milliseconds }) => milliseconds > honouredMillisecondsMax + seenLateMilliseconds,
  );
  const onTheWay = late.filter(
    ({ node, lastLetIn }) =>
      frozen?.node === node && lastLetIn - frozen.wokeAt < wakingMillisecondsMax,
  );
  const allowed = onTheWay.length === 1 ? onTheWay : [];
  const problems = late
    .filter((one) => !allowed.includes(one))
    .map(
      ({ where, milliseconds }) =>
        `${where}: let in ${Math.round(milliseconds)} ms after its revocation was answered`,
    );
  problems.push(
    ...all.filter(({ isRefused }) => !isRefused).map(({ where }) => `${where}: never refused`),
  );
  const counted = all.filter((one) => !allowed.includes(one));
  return { problems, longest: Math.max(0, ...counted.map(({ milliseconds }) => milliseconds)) };
}

class Witness {
  readonly node: ClusterNode;
  readonly what: (typeof asked)[number];
  /** When it was answered last as one who may. */
  lastLetIn = 0;
  isRefused = false;
  readonly #client: ApiClient;
  #isOver = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(
    cluster: Cluster,
    node: ClusterNode,
    { secret }: Credential,
    what: (typeof asked)[number],
  ) {
    this.node = node;
    this.what = what;
    const { caPem } = cluster.login;
    this.#client = createClient({
      ...{ url: node.url, caPem, ...secret, timeoutSeconds: patienceSeconds },
      // Each answer counts: none is asked for again behind its back.
      wait: () => Promise.reject(new Error('asked once')),
    });
  }

  run(): Promise<void> {
    this.#ended = this.#loop();
    return this.#ended;
  }

  /** Once more after the end: what was refused stays refused. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#ended;
    await this.#ask();
    this.#client.close();
  }

  async #loop(): Promise<void> {
    // Refused logins are counted against the address that all share: one is enough.
    while (!this.#isOver && !this.isRefused) {
      await this.#ask();
      await pause(askEveryMilliseconds);
    }
  }

  async #ask(): Promise<void> {
    try {
      if (this.what === 'principal.show') {
        await this.#client.call('principal.show', { params: { principal: 'me' } });
      } else {
        const params = { key: sharedKey };
        if (this.what === 'key.sign')
          await this.#client.call('key.sign', { params, body: { data } });
        else await this.#client.call('key.verify', { params, body: { data, signature: data } });
      }
      this.lastLetIn = performance.now();
    } catch (error) {
      if (isKeyreeveError(error, 'unauthenticated')) this.isRefused = true;
      // Nobody was let in, and the next time tells more.
      else await pause(askEveryMilliseconds);
    }
  }
}
