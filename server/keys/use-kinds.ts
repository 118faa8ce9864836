import type { KeyObject } from 'node:crypto';
import type { Action } from '../../api/actions.ts';
import type { SchemeName } from '../../api/algorithms.ts';
import { algorithms } from '../../api/algorithms.ts';
import type { Operation } from '../../api/purposes.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  agree,
  decapsulate,
  decrypt,
  encapsulate,
  encrypt,
  type KeyMaterial,
  mac,
  mapBatch,
  type PrivateKey,
  random,
  sign,
  signMany,
  unwrapKey,
  verify,
  verifyMac,
  wrapKey,
} from '../crypto/crypto.ts';
import type { KeyRecord, VersionRecord } from './key-record.ts';

/** What a use works with: the versions that may be used, in the order to try them. */
export interface UseContext {
  readonly key: KeyRecord;
  readonly scheme: SchemeName;
  readonly versions: readonly VersionRecord[];
  open(version: VersionRecord): Promise<KeyMaterial>;
  publicKey(version: VersionRecord): KeyObject;
  /** The version that protects new data. */
  protecting(): VersionRecord;
  /** Takes uses where the scheme counts them. */
  count(version: VersionRecord, amount: number): Promise<void>;
}

type Item = Readonly<Record<string, unknown>>;
export type Made = { version: number } & Record<string, unknown>;

/** One kind of use: what it is asked, what it needs and what it does. */
export interface UseKind {
  readonly action: Action;
  readonly operation: Operation;
  /** What the version that is answered did, where that is another operation. */
  readonly makes?: Operation;
  /** protect: with one version; process: with whichever of the allowed ones fits. */
  readonly manner: 'protect' | 'process';
  /** What goes into the digest of the call's inputs. */
  inputs(item: Item): readonly Uint8Array[];
  /** More of the outcome for the entry, as members of a JSON object that follow a comma. */
  detail(results: readonly Item[]): string;
  /** One outcome for each item, in order; an error for an item that could not be done. */
  run(context: UseContext, items: readonly Item[]): Promise<readonly (Made | Error)[]>;
}

const dataKeyBytes = 32;

function bytes(item: Item, field: string): Buffer {
  return Buffer.from((item[field] as string | undefined) ?? '', 'base64');
}

function text(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
}

function secretText(secret: SecretBytes): string {
  using held = secret;
  return held.reveal().toString('base64');
}

const noDetail = () => '';

function verdicts(results: readonly Item[]): string {
  return `,"valid":${results.filter((result) => result.valid === true).length}`;
}

/** A use that protects: every item with the one version. */
function protecting(
  act: (
    context: UseContext,
    version: VersionRecord,
    item: Item,
  ) => Promise<Record<string, unknown>>,
) {
  return async (context: UseContext, items: readonly Item[]) => {
    const version = context.versions[0]!;
    await context.count(version, items.length);
    return settle(items, async (item) => ({
      version: version.version,
      ...(await act(context, version, item)),
    }));
  };
}

/** A use that processes: each item with the first version that fits; all errors are one. */
function processing(
  act: (context: UseContext, material: KeyMaterial, item: Item) => Promise<Record<string, unknown>>,
) {
  return (context: UseContext, items: readonly Item[]) =>
    settle(items, async (item) => {
      let last: unknown;
      for (const version of context.versions) {
        try {
          const made = await act(context, await context.open(version), item);
          return { version: version.version, ...made };
        } catch (error) {
          if (!isKeyreeveError(error, 'invalid-ciphertext')) throw error;
          last = error;
        }
      }
      throw last;
    });
}

/** A use that checks: the version that fits, or version 0 and `valid: false`. */
function checking(
  act: (context: UseContext, version: VersionRecord, item: Item) => Promise<boolean>,
) {
  return (context: UseContext, items: readonly Item[]) =>
    settle(items, async (item) => {
      for (const version of context.versions) {
        if (await act(context, version, item)) return { version: version.version, valid: true };
      }
      return { version: 0, valid: false };
    });
}

// Items are independent: one that cannot be done says so and leaves the others alone. What no
// version can do for any item (a keystore that is away) ends the call.
async function settle(
  items: readonly Item[],
  act: (item: Item) => Promise<Made>,
): Promise<readonly (Made | Error)[]> {
  return mapBatch(items, (item) =>
    act(item).catch((error: unknown) => {
      if (isKeyreeveError(error) && error.status < 500) return error;
      throw error;
    }),
  );
}

// Encrypting takes the public half of a pair, or the secret key itself.
async function encryptingKey(context: UseContext, version: VersionRecord): Promise<PrivateKey> {
  return algorithms[version.algorithm].kind === 'asymmetric'
    ? context.publicKey(version)
    : (await context.open(version)).privateKey;
}

const decapsulating = processing(async (_, material, item) => ({
  secret: secretText(await decapsulate(material.privateKey, bytes(item, 'ciphertext'))),
}));

function versionNeeded(name: string): KeyreeveError {
  return new KeyreeveError(
    'invalid-request',
    `${name} has several versions that may decapsulate.`,
    {
      hint: 'Name the version that encapsulated: `encapsulate` answers it.',
    },
  );
}

/** Every kind of use. The routes, `<action>` and `<action>.batch`, are made from it. */
export const uses = {
  sign: {
    action: 'key.sign',
    operation: 'sign',
    manner: 'protect',
    inputs: (item) => [bytes(item, 'data')],
    detail: noDetail,
    run: async (context, items) => {
      const version = context.versions[0]!;
      const { privateKey } = await context.open(version);
      const { scheme } = context;
      const signatures =
        items.length === 1
          ? [await sign(scheme, privateKey, bytes(items[0]!, 'data'))]
          : await signMany(
              scheme,
              privateKey,
              items.map((item) => bytes(item, 'data')),
            );
      return signatures.map((signature) => ({
        version: version.version,
        scheme,
        signature: text(signature),
      }));
    },
  },
  verify: {
    action: 'key.verify',
    operation: 'verify',
    manner: 'process',
    inputs: (item) => [bytes(item, 'data'), bytes(item, 'signature')],
    detail: verdicts,
    run: checking((context, version, item) =>
      verify(
        context.scheme,
        context.publicKey(version),
        bytes(item, 'data'),
        bytes(item, 'signature'),
      ),
    ),
  },
  encrypt: {
    action: 'key.encrypt',
    operation: 'encrypt',
    manner: 'protect',
    inputs: (item) => [bytes(item, 'plaintext'), bytes(item, 'context')],
    detail: noDetail,
    run: protecting(async (context, version, item) => ({
      scheme: context.scheme,
      ciphertext: text(
        await encrypt(
          context.scheme,
          await encryptingKey(context, version),
          bytes(item, 'plaintext'),
          bytes(item, 'context'),
        ),
      ),
    })),
  },
  decrypt: {
    action: 'key.decrypt',
    operation: 'decrypt',
    manner: 'process',
    inputs: (item) => [bytes(item, 'ciphertext'), bytes(item, 'context')],
    detail: noDetail,
    run: processing(async (context, material, item) => ({
      plaintext: text(
        await decrypt(
          context.scheme,
          material.privateKey,
          bytes(item, 'ciphertext'),
          bytes(item, 'context'),
        ),
      ),
    })),
  },
  'data-key': {
    action: 'key.data-key',
    operation: 'data-key',
    manner: 'protect',
    inputs: (item) => [bytes(item, 'context')],
    detail: noDetail,
    run: protecting(async (context, version, item) => {
      using dataKey = new SecretBytes(random(dataKeyBytes));
      const key = await encryptingKey(context, version);
      const wrapped = await encrypt(context.scheme, key, dataKey.reveal(), bytes(item, 'context'));
      return {
        scheme: context.scheme,
        plaintext: item.withPlaintext === false ? null : text(dataKey.reveal()),
        ciphertext: text(wrapped),
      };
    }),
  },
  're-encrypt': {
    action: 'key.re-encrypt',
    operation: 'decrypt',
    makes: 'encrypt',
    manner: 'process',
    inputs: (item) => [bytes(item, 'ciphertext'), bytes(item, 'context')],
    detail: noDetail,
    run: async (context, items) => {
      const newest = context.protecting();
      await context.count(newest, items.length);
      const key = await encryptingKey(context, newest);
      const { scheme } = context;
      const opened = processing(async (_, material, item) => {
        const aad = bytes(item, 'context');
        using plaintext = new SecretBytes(
          await decrypt(scheme, material.privateKey, bytes(item, 'ciphertext'), aad),
        );
        return { scheme, ciphertext: text(await encrypt(scheme, key, plaintext.reveal(), aad)) };
      });
      const results = await opened(context, items);
      return results.map((result) =>
        result instanceof Error ? result : { ...result, version: newest.version },
      );
    },
  },
  mac: {
    action: 'key.mac',
    operation: 'mac',
    manner: 'protect',
    inputs: (item) => [bytes(item, 'data')],
    detail: noDetail,
    run: protecting(async (context, version, item) => ({
      scheme: context.scheme,
      mac: text(
        await mac(context.scheme, (await context.open(version)).privateKey, bytes(item, 'data')),
      ),
    })),
  },
  'verify-mac': {
    action: 'key.verify-mac',
    operation: 'verify-mac',
    manner: 'process',
    inputs: (item) => [bytes(item, 'data'), bytes(item, 'mac')],
    detail: verdicts,
    run: checking(async (context, version, item) => {
      const { privateKey } = await context.open(version);
      return verifyMac(context.scheme, privateKey, bytes(item, 'data'), bytes(item, 'mac'));
    }),
  },
  wrap: {
    action: 'key.wrap',
    operation: 'wrap',
    manner: 'protect',
    inputs: () => [],
    detail: noDetail,
    run: protecting(async (context, version, item) => {
      using material = new SecretBytes(bytes(item, 'material'));
      const key = await encryptingKey(context, version);
      return { scheme: context.scheme, wrapped: text(wrapKey(context.scheme, key, material)) };
    }),
  },
  unwrap: {
    action: 'key.unwrap',
    operation: 'unwrap',
    manner: 'process',
    inputs: (item) => [bytes(item, 'wrapped')],
    detail: noDetail,
    run: processing(async (context, material, item) => ({
      material: secretText(
        await unwrapKey(context.scheme, material.privateKey, bytes(item, 'wrapped')),
      ),
    })),
  },
  agree: {
    action: 'key.agree',
    operation: 'agree',
    manner: 'protect',
    inputs: (item) => [bytes(item, 'peer'), bytes(item, 'info')],
    detail: noDetail,
    run: protecting(async (context, version, item) => ({
      secret: secretText(
        await agree((await context.open(version)).privateKey, bytes(item, 'peer'), {
          info: bytes(item, 'info'),
          length: item.length as number,
        }),
      ),
    })),
  },
  encapsulate: {
    action: 'key.encapsulate',
    operation: 'encapsulate',
    manner: 'protect',
    inputs: () => [],
    detail: noDetail,
    run: protecting(async (context, version) => {
      const made = await encapsulate(context.publicKey(version));
      return { secret: secretText(made.sharedSecret), ciphertext: text(made.ciphertext) };
    }),
  },
  decapsulate: {
    action: 'key.decapsulate',
    operation: 'decapsulate',
    manner: 'process',
    inputs: (item) => [bytes(item, 'ciphertext')],
    detail: noDetail,
    run: (context, items) => {
      // ML-KEM opens with any key, to another secret: the version cannot be found by trying.
      if (context.versions.length > 1) throw versionNeeded(context.key.name);
      return decapsulating(context, items);
    },
  },
} as const satisfies Record<string, UseKind>;
