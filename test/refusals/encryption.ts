import { constants, createCipheriv, createHmac, type KeyObject, publicEncrypt } from 'node:crypto';
import type { EncryptionScheme, MacScheme, WrapScheme } from '../../api/algorithms.ts';
import type { Refusal } from '../refusals.ts';

type Gcm = Exclude<EncryptionScheme, { form: 'rsa-oaep' }>;

const tagBytes = 16;

export function encryptionRefusals(row: Gcm): readonly Refusal[] {
  return [
    {
      name: 'the tag shortened to 12 bytes',
      mutate: (valid) => valid.subarray(0, -4),
    },
    {
      name: 'a tag of zeros',
      mutate: (valid) => Buffer.concat([valid.subarray(0, -tagBytes), Buffer.alloc(tagBytes)]),
    },
    {
      name: 'the tag in front',
      mutate: (valid) => Buffer.concat([valid.subarray(-tagBytes), valid.subarray(0, -tagBytes)]),
    },
    {
      name: 'nonce and tag with nothing between',
      mutate: (valid) =>
        Buffer.concat([valid.subarray(0, row.nonceBytes), valid.subarray(-tagBytes)]),
    },
    {
      name: 'AES-GCM under the key itself with a nonce of the wrong length',
      mutate: (valid, { data, privateKey }) => {
        // The other scheme's construction, in the frame of this one.
        const other = row.form === 'xaes-gcm' ? valid.subarray(12, 24) : Buffer.alloc(24, 5);
        const cipher = createCipheriv('aes-256-gcm', privateKey, other);
        const body = Buffer.concat([cipher.update(data), cipher.final()]);
        return Buffer.concat([valid.subarray(0, row.nonceBytes), body, cipher.getAuthTag()]);
      },
    },
  ];
}

export function macRefusals(row: MacScheme): readonly Refusal[] {
  return [
    {
      name: 'the MAC cut to 16 bytes',
      mutate: (valid) => valid.subarray(0, 16),
    },
    ...['sha1', 'sha256', 'sha384', 'sha512']
      .filter((hash) => hash !== row.hash)
      .map(
        (hash): Refusal => ({
          name: `HMAC with ${hash}`,
          mutate: (_, { data, privateKey }) => createHmac(hash, privateKey).update(data).digest(),
        }),
      ),
  ];
}

/** RFC 5649, 3 (unwrapping): initial value, length and padding are all checked. */
export function wrapRefusals(row: WrapScheme): readonly Refusal[] {
  return row.form === 'aes-kwp' ? kwpRefusals : rsaKwpRefusals;
}

const kwpRefusals: readonly Refusal[] = [
  {
    name: 'RFC 3394 with its own initial value',
    mutate: (_, { data, privateKey }) => wrapBlocks(privateKey, 'a6a6a6a6a6a6a6a6', pad(data)),
  },
  {
    name: 'another initial value',
    mutate: (_, { data, privateKey }) =>
      wrapBlocks(privateKey, `a65959a7${hexLength(data.length)}`, pad(data)),
  },
  {
    name: 'a length of zero',
    mutate: (_, { data, privateKey }) => wrapBlocks(privateKey, 'a65959a600000000', pad(data)),
  },
  {
    name: 'a length beyond the end',
    mutate: (_, { data, privateKey }) =>
      wrapBlocks(privateKey, `a65959a6${hexLength(pad(data).length + 1)}`, pad(data)),
  },
  {
    name: 'a length eight bytes too short',
    mutate: (_, { data, privateKey }) =>
      wrapBlocks(privateKey, `a65959a6${hexLength(pad(data).length - 8)}`, pad(data)),
  },
  {
    name: 'a padding that is not zero',
    mutate: (_, { data, privateKey }) => {
      const padded = Buffer.concat([pad(data), Buffer.alloc(8, 1)]);
      return wrapBlocks(privateKey, `a65959a6${hexLength(padded.length - 1)}`, padded);
    },
  },
];

const rsaKwpRefusals: readonly Refusal[] = [
  {
    name: 'an ephemeral key of 128 bits',
    mutate: (valid, { publicKey, data }) => rsaWrapped(publicKey!, 16, 'sha256', data, valid),
  },
  {
    name: 'OAEP with SHA-1',
    mutate: (valid, { publicKey, data }) => rsaWrapped(publicKey!, 32, 'sha1', data, valid),
  },
  {
    name: 'the head alone',
    mutate: (valid, { publicKey }) =>
      valid.subarray(0, publicKey!.asymmetricKeyDetails!.modulusLength! / 8),
  },
  {
    name: 'a head of zeros',
    mutate: (valid, { publicKey }) => {
      const changed = Buffer.from(valid);
      return changed.fill(0, 0, publicKey!.asymmetricKeyDetails!.modulusLength! / 8);
    },
  },
];

function rsaWrapped(
  key: KeyObject,
  ephemeralBytes: 16 | 32,
  oaepHash: string,
  data: Buffer,
  valid: Buffer,
): Buffer {
  const ephemeral = Buffer.alloc(ephemeralBytes, 3);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const head = publicEncrypt({ key, padding, oaepHash }, ephemeral);
  const cipher = createCipheriv(
    `id-aes${ephemeralBytes * 8}-wrap-pad`,
    ephemeral,
    Buffer.from('a65959a6', 'hex'),
  );
  const whole = Buffer.concat([head, cipher.update(data), cipher.final()]);
  return whole.length === valid.length ? whole : whole.subarray(0, valid.length);
}

/** RFC 3394's wrapping of whole blocks under an initial value of one's own. */
function wrapBlocks(key: KeyObject, initialValue: string, blocks: Buffer): Buffer {
  const cipher = createCipheriv('id-aes256-wrap', key, Buffer.from(initialValue, 'hex'));
  return Buffer.concat([cipher.update(blocks), cipher.final()]);
}

function pad(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((8 - (data.length % 8)) % 8)]);
}

function hexLength(length: number): string {
  return length.toString(16).padStart(8, '0');
}
