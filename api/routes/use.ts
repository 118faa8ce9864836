import { z } from 'zod';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

/** Uses of keys: each single, and as a batch that makes one entry. All octets are base64. */

const keyParams = z.strictObject({ key: fields.keyReference });
const version = fields.keyVersionNumber.optional();
const scheme = z.string().max(60).optional();
/** Authenticated with the ciphertext, not encrypted: decrypting needs the same bytes. */
const context = fields.base64.optional();

const made = { keyId: z.string(), version: z.number() };
const itemError = z.object({ code: z.string(), title: z.string(), detail: z.string() });

interface UseShape {
  readonly path: string;
  readonly summary: string;
  /** What all items of a call share. */
  readonly shared: z.ZodRawShape;
  readonly item: z.ZodRawShape;
  readonly result: z.ZodRawShape;
}

/** The single and the batch route of one use. */
function pair<
  Shared extends z.ZodRawShape,
  Item extends z.ZodRawShape,
  Result extends z.ZodRawShape,
>(
  // Without Omit the index signature of ZodRawShape would make every member `unknown`.
  shape: Omit<UseShape, 'shared' | 'item' | 'result'> & {
    shared: Shared;
    item: Item;
    result: Result;
  },
) {
  const route = {
    method: 'POST',
    authentication: 'token',
    kind: 'use',
    params: keyParams,
  } as const;
  return {
    single: {
      ...route,
      path: `/api/v1/keys/:key/${shape.path}`,
      summary: shape.summary,
      body: z.strictObject({ ...shape.shared, ...shape.item }),
      response: z.object({ ...made, ...shape.result }),
    },
    batch: {
      ...route,
      path: `/api/v1/keys/:key/${shape.path}/batch`,
      summary: `${shape.summary}: many at once, one entry in the record`,
      body: z.strictObject({
        ...shape.shared,
        items: z.array(z.strictObject(shape.item)).min(1).max(fields.batchItemsMax),
      }),
      /** One result for each item, in order: what was made, or why not. */
      response: z.object({
        keyId: z.string(),
        results: z.array(
          z.union([
            z.object({ version: z.number(), ...shape.result }),
            z.object({ error: itemError }),
          ]),
        ),
      }),
    },
  };
}

const sign = pair({
  path: 'sign',
  summary: 'Sign data',
  shared: { scheme, version },
  item: { data: fields.base64 },
  result: { scheme: z.string(), signature: z.string() },
});
const verify = pair({
  path: 'verify',
  summary: 'Verify a signature with the version named, or with every version that may',
  shared: { scheme, version },
  item: { data: fields.base64, signature: fields.base64 },
  /** `version` is the one that made the signature; 0 where `valid` is false. */
  result: { valid: z.boolean() },
});
const encrypt = pair({
  path: 'encrypt',
  summary: 'Encrypt data',
  shared: { scheme, version },
  item: { plaintext: fields.base64, context },
  result: { scheme: z.string(), ciphertext: z.string() },
});
const decrypt = pair({
  path: 'decrypt',
  summary: 'Decrypt with the version named, or with every version that may',
  shared: { scheme, version },
  item: { ciphertext: fields.base64, context },
  result: { plaintext: z.string() },
});
const reEncrypt = pair({
  path: 're-encrypt',
  summary: 'Decrypt, and encrypt with the newest version, without showing the plaintext',
  shared: { scheme, version },
  item: { ciphertext: fields.base64, context },
  result: { scheme: z.string(), ciphertext: z.string() },
});
const dataKey = pair({
  path: 'data-key',
  summary: 'Make a 256-bit data key: in clear, and wrapped by the key',
  shared: { scheme, version },
  item: { context, withPlaintext: z.boolean().default(true) },
  result: { scheme: z.string(), plaintext: z.string().nullable(), ciphertext: z.string() },
});
const mac = pair({
  path: 'mac',
  summary: 'Make a message authentication code',
  shared: { scheme, version },
  item: { data: fields.base64 },
  result: { scheme: z.string(), mac: z.string() },
});
const verifyMac = pair({
  path: 'verify-mac',
  summary: 'Verify a message authentication code',
  shared: { scheme, version },
  item: { data: fields.base64, mac: fields.base64 },
  result: { valid: z.boolean() },
});
const wrap = pair({
  path: 'wrap',
  summary: 'Wrap key material that the caller holds',
  shared: { scheme, version },
  item: { material: fields.base64 },
  result: { scheme: z.string(), wrapped: z.string() },
});
const unwrap = pair({
  path: 'unwrap',
  summary: 'Unwrap key material',
  shared: { scheme, version },
  item: { wrapped: fields.base64 },
  result: { material: z.string() },
});
const agree = pair({
  path: 'agree',
  summary: 'Agree on a shared secret with a public key (ECDH, then HKDF-SHA-256)',
  shared: { scheme, version },
  item: {
    /** SPKI of the other side, DER in base64. */
    peer: fields.base64,
    info: fields.base64.optional(),
    length: z.int().min(16).max(64).default(32),
  },
  result: { secret: z.string() },
});
const encapsulate = pair({
  path: 'encapsulate',
  summary: 'Make a shared secret and its encapsulation (ML-KEM)',
  shared: { scheme, version },
  item: {},
  result: { secret: z.string(), ciphertext: z.string() },
});
const decapsulate = pair({
  path: 'decapsulate',
  summary: 'Open an encapsulation (ML-KEM)',
  shared: { scheme, version },
  item: { ciphertext: fields.base64 },
  result: { secret: z.string() },
});

export const useRoutes = {
  'key.sign': sign.single,
  'key.sign.batch': sign.batch,
  'key.verify': verify.single,
  'key.verify.batch': verify.batch,
  'key.encrypt': encrypt.single,
  'key.encrypt.batch': encrypt.batch,
  'key.decrypt': decrypt.single,
  'key.decrypt.batch': decrypt.batch,
  'key.re-encrypt': reEncrypt.single,
  'key.re-encrypt.batch': reEncrypt.batch,
  'key.data-key': dataKey.single,
  'key.data-key.batch': dataKey.batch,
  'key.mac': mac.single,
  'key.mac.batch': mac.batch,
  'key.verify-mac': verifyMac.single,
  'key.verify-mac.batch': verifyMac.batch,
  'key.wrap': wrap.single,
  'key.wrap.batch': wrap.batch,
  'key.unwrap': unwrap.single,
  'key.unwrap.batch': unwrap.batch,
  'key.agree': agree.single,
  'key.agree.batch': agree.batch,
  'key.encapsulate': encapsulate.single,
  'key.encapsulate.batch': encapsulate.batch,
  'key.decapsulate': decapsulate.single,
  'key.decapsulate.batch': decapsulate.batch,
  'random.make': {
    method: 'POST',
    path: '/api/v1/random',
    summary: 'Random octets',
    authentication: 'token',
    kind: 'use',
    body: z
      .strictObject({
        length: z.int().min(1).max(65_536),
        count: z.int().min(1).max(fields.batchItemsMax).default(1),
      })
      .refine(
        (body) => body.length * body.count <= fields.dataBytesMax,
        'at most 1 MiB in one call',
      ),
    response: z.object({ items: z.array(z.string()) }),
  },
} as const satisfies Record<string, RouteDefinition>;
