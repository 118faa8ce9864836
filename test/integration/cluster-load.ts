import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import type { ApiClient, CallRouteId, RequestOf } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { freshRequest } from '../../server/pki/publication/publication.fixture.ts';
import type { Cluster } from './cluster.ts';
import { type ClusterModel, isAllowedCode, type Kind, type KnownKey } from './cluster-model.ts';

export const sharedKey = 'cluster/shared';
export const clientCa = 'cluster/clients';

export const callers = 8;
/** The others use keys and change nothing: what holds commands up does not hold them up. */
const changingCallers = 6;
const pauseMilliseconds = 60;
/** Of calls, after which a caller comes over a new connection, to whichever node. */
const reconnectingShare = 0.05;
const callTimeoutSeconds = 3;
/** Attempts of one command with one idempotency key, each with the client's own repetitions. */
const commandAttemptsMax = 12;
const attemptPauseMilliseconds = 300;
const keysOfCallerMax = 25;

export interface LoadOptions {
  readonly cluster: Cluster;
  readonly model: ClusterModel;
  readonly random: () => number;
  readonly isOver: () => boolean;
}

/** Calls all kinds of things through nginx and haproxy until it is over. */
export async function clusterLoad(options: LoadOptions): Promise<void> {
  await Promise.all(
    Array.from({ length: callers }, (_, number) => new Caller(options, number).run()),
  );
}

type Asked<Id extends CallRouteId> = Omit<RequestOf<Id>, 'correlationId' | 'idempotencyKey'>;

/** One of many who call at once. Each has keys of its own, so that it knows what they should be. */
class Caller {
  readonly #options: LoadOptions;
  readonly #number: number;
  readonly #client: ApiClient;
  readonly #keys: KnownKey[] = [];
  readonly #tokens: string[] = [];
  readonly #csr: string;

  constructor(options: LoadOptions, number: number) {
    const { cluster, model } = options;
    this.#options = options;
    this.#number = number;
    const balancer = cluster.balancers[number % cluster.balancers.length]!;
    this.#csr = freshRequest(`caller ${number}`);
    this.#client = cluster.client(balancer.url, {
      timeoutSeconds: callTimeoutSeconds,
      wait: (milliseconds) => {
        model.retries++;
        return pause(milliseconds);
      },
    });
  }

  async run(): Promise<void> {
    while (!this.#options.isOver()) {
      await this.#step();
      // Else a node that was restarted would have no callers, and what befalls it next no witnesses.
      if (this.#options.random() < reconnectingShare) this.#client.close();
      await pause(pauseMilliseconds * (0.5 + this.#options.random()));
    }
  }

  async #step(): Promise<void> {
    const { random } = this.#options;
    if (this.#number >= changingCallers) return this.#signShared();
    const choice = random();
    const key = this.#keys[Math.floor(random() * this.#keys.length)];
    if (key === undefined || (choice < 0.08 && this.#keys.length < keysOfCallerMax)) {
      return this.#create();
    }
    if (choice < 0.15) return this.#rotate(key);
    if (choice < 0.22) return this.#issue();
    if (choice < 0.28) return this.#token();
    if (choice < 0.42) return this.#read(key);
    if (choice < 0.52) return this.#signShared();
    return key.purpose === 'sign' ? this.#sign(key) : this.#encrypt(key);
  }

  async #create(): Promise<void> {
    const { model, random } = this.#options;
    const name = `cluster/${this.#number}/${model.nextId('key')}`;
    const purpose = random() < 0.7 ? 'sign' : 'encrypt';
    const algorithm = purpose === 'encrypt' ? 'aes-256' : random() < 0.5 ? 'p-256' : 'ed25519';
    const view = await this.#command('key.create', { body: { name, algorithm, purpose } });
    if (view === undefined) {
      model.openNames.add(name);
      return;
    }
    const versions = new Map([[1, view.versions[0]!.fingerprint]]);
    const key: KnownKey = { name, purpose, versions, isOpen: false };
    this.#keys.push(key);
    model.keys.set(name, key);
  }

  async #rotate(key: KnownKey): Promise<void> {
    if (key.isOpen) return;
    const { model } = this.#options;
    const saw = key.versions.size;
    const request = { params: { key: key.name }, body: { sawVersion: saw } };
    const view = await this.#command('key.rotate', request);
    if (view === undefined) {
      key.isOpen = true;
      return;
    }
    const made = view.versions.at(-1)!;
    key.versions.set(made.version, made.fingerprint);
    if (made.version === saw + 1) return;
    model.problems.push(`${key.name}: a rotation of version ${saw} made version ${made.version}`);
  }

  async #issue(): Promise<void> {
    const body = { ca: clientCa, profile: 'tls-client', csr: this.#csr } as const;
    const issued = await this.#command('certificate.issue', { body });
    if (issued !== undefined) {
      this.#options.model.certificates.set(issued.serial, issued.certificate!);
    }
  }

  async #token(): Promise<void> {
    const { model, random } = this.#options;
    if (this.#tokens.length > 0 && random() < 0.5) {
      const token = this.#tokens.pop()!;
      model.tokens.set(token, 'open');
      const done = await this.#command('token.revoke', { params: { token } });
      if (done !== undefined) model.tokens.set(token, 'revoked');
      return;
    }
    const made = await this.#command('token.create', { body: { ttlSeconds: 86_400 } });
    if (made === undefined) return;
    this.#tokens.push(made.id);
    model.tokens.set(made.id, 'living');
  }

  async #read(key: KnownKey): Promise<void> {
    const before = key.versions.size;
    const view = await this.#once('read', 'key.show', { params: { key: key.name } });
    if (view === undefined || view.versions.length >= before) return;
    // A read that is older than what was answered to the same caller: kept for the report.
    this.#options.model.problems.push(
      `${key.name} was shown with ${view.versions.length} versions after ${before} were answered`,
    );
  }

  async #signShared(): Promise<void> {
    const { model } = this.#options;
    const data = Buffer.from(model.nextId('shared'));
    const body = { data: data.toString('base64') };
    const made = await this.#once('use', 'key.sign', { params: { key: sharedKey }, body });
    if (made === undefined) return;
    const { version, signature } = made;
    model.sharedUses.push({ at: performance.now(), version });
    model.signatures.push({ key: sharedKey, version, data, signature });
  }

  async #sign(key: KnownKey): Promise<void> {
    const { model } = this.#options;
    const data = Buffer.from(model.nextId('data'));
    const body = { data: data.toString('base64') };
    const made = await this.#once('use', 'key.sign', { params: { key: key.name }, body });
    if (made === undefined) return;
    const { version, signature } = made;
    model.signatures.push({ key: key.name, version, data, signature });
  }

  async #encrypt(key: KnownKey): Promise<void> {
    const { model } = this.#options;
    const plaintext = Buffer.from(model.nextId('text')).toString('base64');
    const request = { params: { key: key.name }, body: { plaintext } };
    const made = await this.#once('use', 'key.encrypt', request);
    if (made === undefined) return;
    model.ciphertexts.push({ key: key.name, plaintext, ciphertext: made.ciphertext });
  }

  /** A command is repeated with its idempotency key until it is answered, or nobody answers. */
  async #command<Id extends CallRouteId>(
    id: Id,
    request: Asked<Id>,
  ): Promise<ResponseOf<Routes[Id]> | undefined> {
    const { model } = this.#options;
    const idempotencyKey = randomUUID();
    const correlationId = model.nextId('command');
    for (let attempt = 1; attempt <= commandAttemptsMax; attempt++) {
      const answer = await this.#attempt('command', id, {
        ...request,
        correlationId,
        idempotencyKey,
      });
      if (answer !== undefined) return answer;
      model.retries++;
      await pause(attemptPauseMilliseconds);
    }
    model.givenUp++;
    return undefined;
  }

  #once<Id extends CallRouteId>(
    kind: Kind,
    id: Id,
    request: Asked<Id>,
  ): Promise<ResponseOf<Routes[Id]> | undefined> {
    const correlationId = this.#options.model.nextId(kind);
    return this.#attempt(kind, id, { ...request, correlationId });
  }

  async #attempt<Id extends CallRouteId>(
    kind: Kind,
    id: Id,
    request: object & { correlationId: string },
  ): Promise<ResponseOf<Routes[Id]> | undefined> {
    const { model } = this.#options;
    try {
      // The request is what the route takes: it was checked where it was made.
      const call = this.#client.call as (
        id: Id,
        request: object,
      ) => Promise<ResponseOf<Routes[Id]>>;
      const answer = await call(id, request);
      model.succeed(kind, this.#number);
      if (kind !== 'read') model.acknowledged.set(request.correlationId, { action: id, kind });
      return answer;
    } catch (error) {
      assert.ok(isKeyreeveError(error), String(error));
      model.fail(error.code);
      return undefined;
    }
  }
}

/** An operator repeats a command with its idempotency key until it is answered, for a while. */
export async function insist<Id extends CallRouteId>(
  client: ApiClient,
  id: Id,
  request: Asked<Id>,
): Promise<ResponseOf<Routes[Id]>> {
  const call = client.call as (id: Id, request: object) => Promise<ResponseOf<Routes[Id]>>;
  const whole = { ...request, idempotencyKey: randomUUID() };
  for (let attempt = 1; ; attempt++) {
    try {
      return await call(id, whole);
    } catch (error) {
      const isAllowed = isKeyreeveError(error) && isAllowedCode(error.code);
      if (!isAllowed || attempt === commandAttemptsMax) throw error;
      await pause(attemptPauseMilliseconds);
    }
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
