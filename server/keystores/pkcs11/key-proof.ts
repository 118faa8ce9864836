import { type KeyObject, randomBytes } from 'node:crypto';
import { schemes } from '../../../api/algorithms.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { isRemoteKey, type PrivateKey, verify } from '../../crypto/crypto.ts';

const proofBytes = 32;

/**
 * Has a key sign something fresh and checks it with the public half that the token gave: a key
 * that is taken into use is the one that its certificate will speak of. Keys that sign with no
 * scheme are left as they are. Error: `integrity-failed`.
 */
export async function proveKey(key: PrivateKey, publicKey: KeyObject): Promise<void> {
  if (!isRemoteKey(key)) return;
  const scheme = [...key.schemes].find((name) => schemes[name].act === 'sign');
  if (scheme === undefined) return;
  const message = randomBytes(proofBytes);
  const signature = await key.sign(scheme, message);
  if (await verify(scheme, publicKey, message, signature)) return;
  throw new KeyreeveError(
    'integrity-failed',
    'The token signs with another key than the one whose public key it gives.',
    { hint: 'Do not use this key: look at the objects of the token with its own tools.' },
  );
}
