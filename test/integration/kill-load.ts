import { verify } from 'node:crypto';
import type { ApiClient } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import type { Acknowledged, KnownKey } from './kill-model.ts';

const callers = 8;
const keysPerRound = 40;
const data = Buffer.from('Signed while the power was failing.');

/** Numbers between 0 and 1 that follow from the seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface LoadOptions {
  readonly client: ApiClient;
  readonly round: number;
  readonly random: () => number;
  readonly known: Acknowledged;
  /** True from the moment of the kill: failures are expected from then on. */
  readonly isOver: () => boolean;
}

/** Calls all kinds of things at once until the service is gone. Throws where it refuses any. */
export async function mixedLoad(options: LoadOptions): Promise<void> {
  await Promise.all(
    Array.from({ length: callers }, (_, caller) => new Caller(options, caller).run()),
  );
}

/** One of many who call at once. Each has keys of its own, so that it knows what they should be. */
class Caller {
  readonly #options: LoadOptions;
  readonly #number: number;
  #calls = 0;
  #made = 0;

  constructor(options: LoadOptions, number: number) {
    this.#options = options;
    this.#number = number;
  }

  async run(): Promise<void> {
    const { isOver } = this.#options;
    while (!isOver()) {
      try {
        await this.#step();
      } catch (error) {
        if (isOver()) return;
        throw error;
      }
    }
  }

  async #step(): Promise<void> {
    const { random } = this.#options;
    const key = this.#pick();
    const choice = random();
    if (key === undefined || (choice < 0.25 && this.#made < keysPerRound / callers)) {
      return this.#create();
    }
    if (choice < 0.4) return key.state === 'active' ? this.#rotate(key) : this.#change(key);
    if (choice < 0.55) return this.#change(key);
    if (choice < 0.65) return this.#token();
    return key.state === 'active' ? this.#sign(key) : this.#change(key);
  }

  #pick(): KnownKey | undefined {
    const { known, random } = this.#options;
    const own = [...known.keys.values()].filter((_, index) => index % callers === this.#number);
    // The youngest, mostly: old ones are checked by their being there.
    return own.at(-1 - Math.floor(random() ** 2 * own.length));
  }

  #id(): string {
    return `r${this.#options.round}-${this.#number}-${++this.#calls}`;
  }

  async #create(): Promise<void> {
    const { client, known, random } = this.#options;
    const correlationId = this.#id();
    this.#made++;
    const keystore = random() < 0.5 ? 'wrapped' : 'file';
    const algorithm = random() < 0.5 ? 'p-256' : 'ed25519';
    const name = `kill/${correlationId}`;
    const key: KnownKey = { name, keystore, version: 1, state: 'active', pending: undefined };
    known.asked.set(name, key);
    const body = { name, algorithm, purpose: 'sign', keystore } as const;
    await client.call('key.create', { body, correlationId });
    known.asked.delete(name);
    known.keys.set(name, key);
    known.acknowledge(correlationId, 'key.create');
  }

  async #rotate(key: KnownKey): Promise<void> {
    const { client, known } = this.#options;
    const correlationId = this.#id();
    key.pending = 'rotate';
    const body = { sawVersion: key.version };
    const view = await client.call('key.rotate', {
      params: { key: key.name },
      body,
      correlationId,
    });
    key.version = view.versions.at(-1)!.version;
    key.pending = undefined;
    known.acknowledge(correlationId, 'key.rotate');
  }

  async #change(key: KnownKey): Promise<void> {
    const { client, known } = this.#options;
    const correlationId = this.#id();
    const state = key.state === 'active' ? 'suspended' : 'active';
    key.pending = 'state';
    const body = { version: key.version, state } as const;
    await client.call('key.state', { params: { key: key.name }, body, correlationId });
    key.state = state;
    key.pending = undefined;
    known.acknowledge(correlationId, 'key.state');
  }

  async #sign(key: KnownKey): Promise<void> {
    const { client, known } = this.#options;
    const correlationId = this.#id();
    const body = { data: data.toString('base64') };
    await client.call('key.sign', { params: { key: key.name }, body, correlationId });
    known.acknowledge(correlationId, 'key.sign');
  }

  async #token(): Promise<void> {
    const { client, known, random } = this.#options;
    const correlationId = this.#id();
    const own = [...known.tokens.values()].filter((_, index) => index % callers === this.#number);
    const living = own.findLast((token) => !token.isRevoked);
    if (living !== undefined && random() < 0.5) {
      living.isPending = true;
      await client.call('token.revoke', { params: { token: living.id }, correlationId });
      living.isRevoked = true;
      living.isPending = false;
      known.acknowledge(correlationId, 'token.revoke');
      return;
    }
    const made = await client.call('token.create', { body: { ttlSeconds: 86_400 }, correlationId });
    known.tokens.set(made.id, { id: made.id, isRevoked: false, isPending: false });
    known.acknowledge(correlationId, 'token.create');
  }
}

/** Signs with a key and checks the signature apart from the service: its private half is whole. */
export async function provesWhole(client: ApiClient, name: string): Promise<boolean> {
  const params = { key: name };
  try {
    const { signature, version } = await client.call('key.sign', {
      params,
      body: { data: data.toString('base64') },
    });
    const view = await client.call('key.public', { params });
    const { algorithm, publicKey } = view.versions.find((one) => one.version === version)!;
    const hash = algorithm === 'ed25519' ? null : 'sha256';
    return verify(hash, data, publicKey!, Buffer.from(signature, 'base64'));
  } catch (error) {
    return isKeyreeveError(error, 'state-not-allowed');
  }
}
