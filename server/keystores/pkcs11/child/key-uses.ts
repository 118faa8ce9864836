import { attributes, keyTypes, noDerivation, objectClasses, parameterTypes } from '../constants.ts';
import type { DeriveRequest, UseRequest } from '../protocol.ts';
import type { Handle, NativeMechanism, NativeModule } from './addon.ts';
import { findOne } from './objects.ts';

const usesMaximum = 10_000;

interface PreparedUse {
  readonly mechanism: NativeMechanism;
  readonly key: Handle;
  readonly answerBytes: number;
}

/**
 * Signing and decrypting in one session. What the head of a request means, and the handle of its
 * key, is looked up once and kept: the calls after that cost what the module costs.
 */
export class KeyUses {
  readonly #module: NativeModule;
  readonly #session: Handle;
  readonly #prepared = new Map<string, PreparedUse>();

  constructor(module: NativeModule, session: Handle) {
    this.#module = module;
    this.#session = session;
  }

  sign(head: Buffer, inputs: readonly Buffer[]): Buffer[] {
    const { mechanism, key, answerBytes } = this.#prepare(head);
    return inputs.map((input) => {
      this.#module.C_SignInit(this.#session, mechanism, key);
      return this.#module.C_Sign(this.#session, input, Buffer.allocUnsafe(answerBytes));
    });
  }

  decrypt(head: Buffer, inputs: readonly Buffer[]): Buffer[] {
    const { mechanism, key, answerBytes } = this.#prepare(head);
    return inputs.map((input) => {
      this.#module.C_DecryptInit(this.#session, mechanism, key);
      return this.#module.C_Decrypt(this.#session, input, Buffer.alloc(answerBytes));
    });
  }

  /** Handles may be given to other objects once theirs are destroyed. */
  forget(): void {
    this.#prepared.clear();
  }

  #prepare(head: Buffer): PreparedUse {
    const text = head.toString('latin1');
    const known = this.#prepared.get(text);
    if (known !== undefined) return known;
    const request = JSON.parse(head.toString('utf8')) as UseRequest;
    const key = findOne(this.#module, this.#session, request.key);
    const use = { mechanism: request.mechanism, key, answerBytes: request.answerBytes };
    if (this.#prepared.size >= usesMaximum) this.#prepared.clear();
    this.#prepared.set(text, use);
    return use;
  }
}

/** Agrees with each of the peers' points; the secrets leave the token, as they are meant to. */
export function deriveSecrets(
  module: NativeModule,
  session: Handle,
  request: DeriveRequest,
  points: readonly Buffer[],
): Buffer[] {
  const key = findOne(module, session, request.key);
  return points.map((publicData) => {
    const parameter = { type: parameterTypes.ecdh, kdf: noDerivation, publicData };
    const secret = module.C_DeriveKey(session, { mechanism: request.mechanism, parameter }, key, [
      { type: attributes.class, value: objectClasses.secret },
      { type: attributes.keyType, value: keyTypes.genericSecret },
      { type: attributes.token, value: false },
      { type: attributes.private, value: true },
      { type: attributes.sensitive, value: false },
      { type: attributes.extractable, value: true },
      { type: attributes.valueLength, value: request.secretBytes },
    ]);
    try {
      return module.C_GetAttributeValue(session, secret, [{ type: attributes.value }])[0]!.value;
    } finally {
      module.C_DestroyObject(session, secret);
    }
  });
}
