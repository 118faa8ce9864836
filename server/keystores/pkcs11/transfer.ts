import { randomBytes } from 'node:crypto';
import type { AlgorithmName } from '../../../api/algorithms.ts';
import type { KeyMaterial } from '../../crypto/crypto.ts';
import type { KeyIdentity, StoredKey } from '../keystore.ts';
import type { Answer } from './call.ts';
import {
  attributes,
  keyTypes,
  maskFunctions,
  mechanisms,
  oaepSource,
  parameterTypes,
} from './constants.ts';
import { importMechanism } from './importing.ts';
import { keyKindOf, type TokenKeyKind } from './key-kinds.ts';
import type {
  CommandName,
  FoundObject,
  GenerateRequest,
  MechanismCall,
  TransferInRequest,
  TransferKey,
  TransferKeyRequest,
  TransferOutRequest,
} from './protocol.ts';
import { publicNumbers } from './public-half.ts';
import { generateRequest, importRequest } from './templates.ts';
import { namesOf } from './token-names.ts';
import type { TokenView } from './token-view.ts';

/** Where a key goes: the transfer key of the other token, and which OAEP both know. */
export interface TransferTarget {
  /** CKA_ID of the transfer key, in hex. */
  readonly id: string;
  readonly key: TransferKey;
  readonly hash: OaepHash;
}

/** A key on its way: nobody but the other token can open it. */
export interface WrappedKey {
  readonly target: TransferTarget;
  /** With the public half, which the other token has to end up with too. */
  readonly material: KeyMaterial;
  readonly items: readonly Uint8Array[];
}

/** What a keystore lends to its transfers. */
export interface TransferSupport {
  token(): Promise<TokenView>;
  kindOf(algorithm: AlgorithmName, token: TokenView): TokenKeyKind;
  call(command: CommandName, head: Buffer, items?: readonly Uint8Array[]): Promise<Answer>;
  refuseExisting(identity: KeyIdentity): Promise<void>;
  /** Proves a key that was just made. */
  keep(
    algorithm: AlgorithmName,
    found: FoundObject[],
    identity: KeyIdentity,
    fingerprint?: string,
  ): Promise<StoredKey>;
  open(algorithm: AlgorithmName, stored: StoredKey, identity: KeyIdentity): Promise<KeyMaterial>;
}

type OaepHash = 'sha1' | 'sha256';

const modulusBits = 3072;
const idBytes = 20;
// OAEP rests on no hash's resistance to collisions (RFC 8017, 7.1): where a token knows SHA-1
// alone, that does.
const oaepHashes = { sha1: mechanisms.sha1, sha256: mechanisms.sha256 } as const;

/**
 * How a key comes from one token to another without anybody in between being able to read it: the
 * receiving token makes an RSA key for this one time, the sending token makes the key, wraps it
 * under a fresh AES key (RFC 5649) and that under the RSA key (RFC 8017, 7.1).
 */
export class TokenTransfer {
  readonly #support: TransferSupport;

  constructor(support: TransferSupport) {
    this.#support = support;
  }

  /** Whether the token has what it takes for keys of the algorithm, sending as receiving. */
  async isPossible(algorithm: AlgorithmName): Promise<boolean> {
    const token = await this.#support.token();
    const kind = keyKindOf(algorithm, token);
    // How PKCS #11 wraps ML-DSA keys differs from token to token.
    if (kind === undefined || kind.keyType === keyTypes.mlDsa) return false;
    return (
      !token.quirks.notImported.includes(algorithm) &&
      importMechanism(token) !== undefined &&
      [mechanisms.rsaKeyPair, mechanisms.rsaOaep, mechanisms.aesKey].every((one) => token.has(one))
    );
  }

  /** The OAEP that the token does by itself. */
  async #hash(): Promise<OaepHash> {
    return (await this.#support.token()).quirks.oaep === 'token' ? 'sha256' : 'sha1';
  }

  /** Makes the token ready to take in one key that `from` makes. */
  async prepare(from: TokenTransfer): Promise<TransferTarget> {
    const id = randomBytes(idBytes).toString('hex');
    const request: TransferKeyRequest = { id, modulusBits };
    const answer = await this.#support.call('transferKey', encode(request));
    const hashes = await Promise.all([this.#hash(), from.#hash()]);
    const hash = hashes.includes('sha1') ? 'sha1' : 'sha256';
    return { id, key: JSON.parse(answer.head.toString('utf8')) as TransferKey, hash };
  }

  /**
   * Makes a key in this token, wrapped for the other one too, and closes it. Errors: those of
   * `generate`.
   */
  async generate(
    identity: KeyIdentity,
    algorithm: AlgorithmName,
    target: TransferTarget,
  ): Promise<{ readonly stored: StoredKey; readonly wrapped: WrappedKey }> {
    const support = this.#support;
    const token = await support.token();
    const kind = support.kindOf(algorithm, token);
    await support.refuseExisting(identity);
    const request: TransferOutRequest = {
      ...leaving(generateRequest(kind, namesOf(identity))),
      transfer: target.key,
      wrapRsa: oaep(target.hash),
      wrapAes: importMechanism(token)!,
    };
    const answer = await support.call('transferOut', encode(request));
    const items = answer.items.map((item) => Buffer.from(item));
    const found = JSON.parse(answer.head.toString('utf8')) as FoundObject[];
    const stored = await support.keep(algorithm, found, identity);
    const material = await support.open(algorithm, stored, identity);
    return { stored, wrapped: { target, material, items } };
  }

  /** Takes a key in. Errors: those of `import`. */
  async take(identity: KeyIdentity, wrapped: WrappedKey): Promise<StoredKey> {
    const support = this.#support;
    const { material, target, items } = wrapped;
    const { algorithm, publicKey, fingerprint } = material;
    const token = await support.token();
    const kind = support.kindOf(algorithm, token);
    await support.refuseExisting(identity);
    const numbers = publicKey === undefined ? [] : publicNumbers(algorithm, publicKey);
    const mechanism = importMechanism(token)!;
    const request: TransferInRequest = {
      ...importRequest(kind, namesOf(identity), mechanism, numbers),
      transferId: target.id,
      unwrapRsa: oaep(target.hash),
      unwrapAes: mechanism,
    };
    const answer = await support.call('transferIn', encode(request), items);
    const found = JSON.parse(answer.head.toString('utf8')) as FoundObject[];
    return support.keep(algorithm, found, identity, fingerprint);
  }
}

function leaving(request: GenerateRequest): GenerateRequest {
  const privateTemplate = request.privateTemplate.map((entry) =>
    entry.type === attributes.extractable ? { ...entry, value: true } : entry,
  );
  return { ...request, privateTemplate };
}

function oaep(hash: OaepHash): MechanismCall {
  return {
    mechanism: mechanisms.rsaOaep,
    parameter: {
      type: parameterTypes.rsaOaep,
      hashAlg: oaepHashes[hash],
      mgf: maskFunctions[hash],
      source: oaepSource,
    },
  };
}

function encode(request: object): Buffer {
  return Buffer.from(JSON.stringify(request));
}
