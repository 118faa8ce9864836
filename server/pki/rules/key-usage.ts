import { type KeyUsageName, keyUsages, type Profile } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { KeyKind } from './public-key.ts';

const signing = ['digitalSignature', 'contentCommitment', 'keyCertSign', 'cRLSign'] as const;

/**
 * What a certified key can do at all: RFC 3279, section 2.3 (RSA, elliptic curves), RFC 8410,
 * section 5 (Ed25519), RFC 9881, section 5 (ML-DSA), RFC 9909, section 6 (SLH-DSA). Curve25519 keys
 * for agreement and ML-KEM keys are not certified here, since they cannot sign a request.
 */
const possible: Readonly<Record<KeyKind, readonly KeyUsageName[]>> = {
  rsa: [...signing, 'keyEncipherment', 'dataEncipherment'],
  ec: [...signing, 'keyAgreement', 'encipherOnly', 'decipherOnly'],
  octets: signing,
  secret: [],
};

/** Usages that the kind of key makes impossible. */
export function impossibleUsages(
  usages: readonly KeyUsageName[],
  kind: KeyKind,
): readonly KeyUsageName[] {
  return usages.filter((usage) => !possible[kind].includes(usage));
}

/**
 * The profile's usages without those that this kind of key has no means for, in the order of the
 * bits that they become. Error: `public-key-refused` where none is left.
 */
export function planKeyUsage(profile: Profile, kind: KeyKind): readonly KeyUsageName[] {
  const able = keyUsages.filter(
    (usage) => profile.keyUsage.includes(usage) && possible[kind].includes(usage),
  );
  // RFC 5280, section 4.2.1.3: these two say how keys are agreed on, and nothing without that.
  const usages = able.includes('keyAgreement')
    ? able
    : able.filter((usage) => usage !== 'encipherOnly' && usage !== 'decipherOnly');
  if (usages.length === 0) {
    throw new KeyreeveError(
      'public-key-refused',
      `The key can do nothing that the profile ${profile.name} is for.`,
      { data: { check: 'usage' }, hint: `It is for ${profile.keyUsage.join(', ')}.` },
    );
  }
  return usages;
}
