import type { Keystore, KeystoreHealth } from './keystore.ts';

/** How a keystore is, told in time whatever it does: a token that hangs holds up nobody who asks. */
export async function healthWithin(
  keystore: Pick<Keystore, 'health'>,
  milliseconds: number,
): Promise<KeystoreHealth> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<KeystoreHealth>((resolve) => {
    const reason = `It has said nothing for ${milliseconds / 1000} s.`;
    timer = setTimeout(() => resolve({ ready: false, reason }), milliseconds);
  });
  try {
    return await Promise.race([keystore.health(), late]);
  } finally {
    clearTimeout(timer);
  }
}
