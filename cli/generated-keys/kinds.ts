import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { KeyreeveError } from '../../server/base/errors.ts';

export const kinds = ['rsa', 'ecdsa'] as const;
export type Kind = (typeof kinds)[number];

export interface KindOptions {
  readonly size?: string;
  readonly curve?: string;
}

export interface KeyParameters {
  readonly kind: Kind;
  /** `RSA` or `ECDSA`, as the inventory has it. */
  readonly title: string;
  /** `2048` or `P-256`, as the inventory has it. */
  readonly size: string;
  readonly scheme: string;
  readonly generate: () => Promise<{ privateKey: KeyObject; publicKey: KeyObject }>;
}

const makePair = promisify(generateKeyPair);

const rsaSizes = ['2048', '3072', '4096'] as const;

const curves = {
  'p-256': { title: 'P-256', namedCurve: 'prime256v1', scheme: 'ecdsa-sha256' },
  'p-384': { title: 'P-384', namedCurve: 'secp384r1', scheme: 'ecdsa-sha384' },
  'p-521': { title: 'P-521', namedCurve: 'secp521r1', scheme: 'ecdsa-sha512' },
} as const;

/** What to make, from the words of the command. Throws `invalid-request`. */
export function parametersOf(kind: Kind, options: KindOptions): KeyParameters {
  const { size, curve } = options;
  if (kind === 'rsa') {
    if (curve !== undefined) throw foreign('--curve', 'ecdsa');
    const wanted = size ?? rsaSizes[0];
    if (!(rsaSizes as readonly string[]).includes(wanted))
      throw unknown('--size', wanted, rsaSizes);
    const modulusLength = Number(wanted);
    return {
      kind,
      title: 'RSA',
      size: wanted,
      scheme: 'rsa-pss-sha256',
      generate: () => makePair('rsa', { modulusLength, publicExponent: 65_537 }),
    };
  }
  if (size !== undefined) throw foreign('--size', 'rsa');
  const wanted = (curve ?? 'p-256').toLowerCase();
  if (!Object.hasOwn(curves, wanted)) throw unknown('--curve', wanted, Object.keys(curves));
  const { title, namedCurve, scheme } = curves[wanted as keyof typeof curves];
  return {
    kind,
    title: 'ECDSA',
    size: title,
    scheme,
    generate: () => makePair('ec', { namedCurve }),
  };
}

function foreign(option: string, kind: Kind): KeyreeveError {
  return new KeyreeveError('invalid-request', `${option} is for ${kind} keys`);
}

function unknown(option: string, value: string, known: readonly string[]): KeyreeveError {
  return new KeyreeveError('unknown-algorithm', `${option} ${value} is not known`, {
    hint: `Choose one of: ${known.join(', ')}.`,
  });
}
