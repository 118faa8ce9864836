import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import {
  type AlgorithmName,
  algorithms,
  type HashName,
  type NodeKey,
  type SchemeName,
  type SchemeRow,
  schemes,
  supportsScheme,
} from '../../../api/algorithms.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import { SecretBytes } from '../../base/secret-bytes.ts';
import { invalidCiphertext, type RemoteKey, unwrapKey } from '../../crypto/crypto.ts';
import { Cost } from './call.ts';
import { mechanisms } from './constants.ts';
import { TokenFaultError } from './faults.ts';
import { curves } from './key-kinds.ts';
import { unpadOaep } from './oaep-unpadding.ts';
import type { DeriveRequest, ObjectSelector, UseRequest } from './protocol.ts';
import type { Supervisor } from './supervisor.ts';
import type { TokenView } from './token-view.ts';
import { planUse, type UsePlan } from './use-plans.ts';

/** What the calls of one keystore took, for metrics. */
export interface UseRecorder {
  record(milliseconds: number, items: number): void;
}

export interface RemoteKeyOptions {
  readonly keystore: string;
  readonly algorithm: AlgorithmName;
  readonly publicKey: KeyObject | undefined;
  readonly selector: ObjectSelector;
  readonly token: TokenView;
  readonly supervisor: Supervisor;
  readonly recorder: UseRecorder;
  readonly now: () => number;
}

/** A batch goes in parts of so much work: enough to be worth the way, and others get a turn. */
const partMilliseconds = 4;
const partItemsMaximum = 64;
/** Parts of one batch that are under way at a time. */
const partsAtOnce = 16;
/** The longest message that goes into the token whole, where it hashes or signs by itself. */
const messageBytesMaximum = 16 * 1024 * 1024;
const wrappingKeyBytes = 32;
const wrappedBytesMinimum = 16;
const wrapHash = 'sha256';
const wrapScheme = 'rsa-oaep-sha256';

interface PreparedUse {
  readonly plan: UsePlan;
  readonly head: Buffer;
  readonly cost: Cost;
}

/** Makes the key that stands for one in a token. */
export function createRemoteKey(options: RemoteKeyOptions): RemoteKey {
  const uses = new TokenUses(options);
  const { keystore, algorithm, publicKey } = options;
  const { kind, node }: { kind: string; node: NodeKey } = algorithms[algorithm];
  const can = (test: (row: SchemeRow) => boolean) =>
    [...uses.schemes].some((name) => test(schemes[name]));
  const key: RemoteKey = {
    ...{ keystore, algorithm, publicKey },
    schemes: uses.schemes,
    sign: (scheme, data) => uses.sign(scheme, data),
    signMany: (scheme, datas) => uses.signMany(scheme, datas),
  };
  if (kind === 'symmetric')
    return { ...key, mac: (scheme, data) => uses.sign(scheme, data, 'mac') };
  return {
    ...key,
    ...(can((row) => row.act === 'encrypt')
      ? {
          decrypt: (scheme: SchemeName, ciphertext: Uint8Array) => uses.decrypt(scheme, ciphertext),
        }
      : {}),
    ...(can((row) => row.act === 'wrap')
      ? { unwrap: (scheme: SchemeName, wrapped: Uint8Array) => uses.unwrap(scheme, wrapped) }
      : {}),
    ...(can((row) => row.act === 'agree') && node.type === 'ec'
      ? { agree: (peerSpki: Uint8Array) => uses.agree(peerSpki, node.curve) }
      : {}),
  };
}

class TokenUses {
  readonly schemes: ReadonlySet<SchemeName>;
  readonly #options: RemoteKeyOptions;
  readonly #prepared = new Map<SchemeName, PreparedUse>();
  readonly #deriveCost = new Cost(1);

  constructor(options: RemoteKeyOptions) {
    this.#options = options;
    this.schemes = schemesOf(options.algorithm, options.token);
  }

  async sign(scheme: SchemeName, data: Uint8Array, act: 'sign' | 'mac' = 'sign'): Promise<Buffer> {
    const [signature] = await this.#signPart(this.#prepare(scheme, act), [data]);
    return signature!;
  }

  async signMany(scheme: SchemeName, datas: readonly Uint8Array[]): Promise<Buffer[]> {
    const use = this.#prepare(scheme, 'sign');
    const results = new Array<Buffer>(datas.length);
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < datas.length) {
        const start = next;
        const fits = Math.floor(partMilliseconds / use.cost.milliseconds);
        next = start + Math.max(1, Math.min(partItemsMaximum, fits));
        const part = await this.#signPart(use, datas.slice(start, next));
        for (const [index, signature] of part.entries()) results[start + index] = signature;
      }
    };
    await Promise.all(Array.from({ length: Math.min(partsAtOnce, datas.length) }, work));
    return results;
  }

  async decrypt(scheme: SchemeName, ciphertext: Uint8Array): Promise<Buffer> {
    const use = this.#prepare(scheme, 'encrypt');
    const row = schemes[scheme] as { hash: HashName; hashBytes: number };
    return this.#open(use, row, ciphertext);
  }

  /** RSA-OAEP of a fresh AES key in the token, AES-KWP under it here. */
  async unwrap(scheme: SchemeName, wrapped: Uint8Array): Promise<SecretBytes> {
    if (!this.schemes.has(scheme) || schemes[scheme].act !== 'wrap') throw notFor(scheme);
    const use = this.#prepare(wrapScheme, 'encrypt');
    const headBytes = use.plan.answerBytes;
    if (wrapped.length < headBytes + wrappedBytesMinimum) throw invalidCiphertext();
    const { hashBytes } = schemes[wrapScheme];
    const row = { hash: wrapHash, hashBytes } as const;
    // A head that does not open goes on with another key, so that head and tail fail alike.
    let opened: Buffer | undefined;
    try {
      opened = await this.#open(use, row, wrapped.subarray(0, headBytes));
    } catch (error) {
      if (!isKeyreeveError(error, 'invalid-ciphertext')) throw error;
    }
    const isKey = opened !== undefined && opened.length === wrappingKeyBytes;
    using bytes = new SecretBytes(isKey ? opened! : Buffer.alloc(wrappingKeyBytes));
    const key = createSecretKey(bytes.reveal());
    const secret = await unwrapKey('aes-kwp', key, wrapped.subarray(headBytes));
    if (isKey) return secret;
    secret[Symbol.dispose]();
    throw invalidCiphertext();
  }

  async agree(peerSpki: Uint8Array, curve: string): Promise<SecretBytes> {
    const fieldBytes = curves[curve]?.fieldBytes ?? 0;
    const { supervisor, selector } = this.#options;
    const request: DeriveRequest = {
      key: selector,
      mechanism: mechanisms.ecdh,
      secretBytes: fieldBytes,
    };
    const head = Buffer.from(JSON.stringify(request));
    const point = peerPoint(peerSpki, curve, this.#options.token.quirks.ecdhPoint);
    const answer = await this.#timed(1, () =>
      supervisor.call('derive', head, [point], this.#deriveCost),
    );
    const value = answer.items[0];
    if (value === undefined || value.length > fieldBytes) throw noSecret();
    const secret = Buffer.alloc(fieldBytes);
    value.copy(secret, fieldBytes - value.length);
    value.fill(0);
    if (secret.every((byte) => byte === 0)) throw noSecret();
    return new SecretBytes(secret);
  }

  async #signPart(use: PreparedUse, datas: readonly Uint8Array[]): Promise<Buffer[]> {
    const { plan, head, cost } = use;
    const inputs = datas.map((data) => plan.input(data));
    for (const input of inputs) {
      if (input.length <= messageBytesMaximum) continue;
      throw new KeyreeveError(
        'too-large',
        `The token signs messages of ${messageBytesMaximum} bytes at most in this way.`,
        { data: { limitBytes: messageBytesMaximum } },
      );
    }
    const answer = await this.#timed(datas.length, () =>
      this.#options.supervisor.call('sign', head, inputs, cost),
    );
    const signatures = answer.items.map((item) => plan.output(item));
    if (signatures.length !== datas.length || signatures.includes(undefined)) {
      throw new KeyreeveError('internal', 'The token gave a signature of the wrong form.');
    }
    return signatures as Buffer[];
  }

  async #open(
    { plan, head, cost }: PreparedUse,
    { hash, hashBytes }: { readonly hash: HashName; readonly hashBytes: number },
    ciphertext: Uint8Array,
  ): Promise<Buffer> {
    if (ciphertext.length !== plan.answerBytes) throw invalidCiphertext();
    try {
      const answer = await this.#timed(1, () =>
        this.#options.supervisor.call('decrypt', head, [ciphertext], cost),
      );
      const item = answer.items[0];
      const block = item === undefined ? undefined : plan.output(item);
      item?.fill(0);
      const plaintext =
        block === undefined || !plan.isPadded ? block : unpadOaep(block, hash, hashBytes);
      if (plaintext !== undefined) return plaintext;
    } catch (error) {
      // The token was asked and is well: then it is the ciphertext.
      const isData = error instanceof TokenFaultError && ['data', 'other'].includes(error.kind);
      if (!isData) throw error;
    }
    throw invalidCiphertext();
  }

  async #timed<Result>(items: number, work: () => Promise<Result>): Promise<Result> {
    const { recorder, now } = this.#options;
    const start = now();
    const result = await work();
    recorder.record(now() - start, items);
    return result;
  }

  #prepare(scheme: SchemeName, act: SchemeRow['act']): PreparedUse {
    const known = this.#prepared.get(scheme);
    if (known !== undefined && schemes[scheme].act === act) return known;
    const { algorithm, token, selector } = this.#options;
    if (!supportsScheme(algorithm, scheme) || schemes[scheme].act !== act) throw notFor(scheme);
    const plan = planUse(algorithm, scheme, token);
    if (plan === undefined) {
      throw new KeyreeveError(
        'capability-missing',
        `The token "${token.facts.label}" (${token.facts.model}) has no mechanism for ${scheme}.`,
        { hint: 'Choose another scheme, or another keystore.' },
      );
    }
    const { mechanism, answerBytes } = plan;
    const request: UseRequest = { key: selector, mechanism, answerBytes };
    const use = { plan, head: Buffer.from(JSON.stringify(request)), cost: new Cost(1) };
    this.#prepared.set(scheme, use);
    return use;
  }
}

/** The schemes of an algorithm that the token can do. */
export function schemesOf(algorithm: AlgorithmName, token: TokenView): ReadonlySet<SchemeName> {
  const node: NodeKey = algorithms[algorithm].node;
  const names = (Object.keys(schemes) as SchemeName[]).filter((name) => {
    if (!supportsScheme(algorithm, name)) return false;
    const row: SchemeRow = schemes[name];
    if (row.act === 'agree') return node.type === 'ec' && token.has(mechanisms.ecdh);
    if (row.form === 'rsa-aes-kwp') return planUse(algorithm, wrapScheme, token) !== undefined;
    return planUse(algorithm, name, token) !== undefined;
  });
  return new Set(names);
}

function peerPoint(spki: Uint8Array, curve: string, form: 'plain' | 'der'): Buffer {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  if (key.asymmetricKeyDetails?.namedCurve !== curve) throw noSecret();
  // The end of an SPKI on a named curve is the point itself (RFC 5480, 2.2).
  const bytes = 1 + 2 * (curves[curve]?.fieldBytes ?? 0);
  const point = key.export({ format: 'der', type: 'spki' }).subarray(-bytes);
  if (form === 'plain') return point;
  const header = bytes < 0x80 ? [0x04, bytes] : [0x04, 0x81, bytes];
  return Buffer.concat([Buffer.from(header), point]);
}

function noSecret(): KeyreeveError {
  return new KeyreeveError('invalid-key-material', 'No secret can be agreed on with this key.');
}

function notFor(scheme: SchemeName): KeyreeveError {
  return new KeyreeveError('scheme-not-allowed', `The key is not for the scheme ${scheme}.`, {
    hint: 'Show the key to see its schemes.',
  });
}
