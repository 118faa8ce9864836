import type { SchemeName } from '../../../api/algorithms.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { isRemoteKey, type KeyMaterial, type RemoteKey } from '../../crypto/crypto.ts';
import type { Failover, MemberRole } from './failover.ts';

type Opening = (role: MemberRole) => Promise<KeyMaterial>;

/**
 * A key that both members of a group hold, or one: used where it answers. `open` gives the key of
 * one member; the other one's is opened when it is needed, and kept.
 */
export async function openGroupKey(
  group: string,
  failover: Failover,
  open: Opening,
): Promise<KeyMaterial> {
  const opened = new Map<MemberRole, Promise<KeyMaterial>>();
  let fingerprint: string | undefined;
  const openIn = (role: MemberRole): Promise<KeyMaterial> => {
    const known = opened.get(role);
    if (known !== undefined) return known;
    const opening = open(role).then((material) => {
      requireSame(group, fingerprint, material.fingerprint);
      return material;
    });
    opened.set(role, opening);
    opening.catch(() => opened.delete(role));
    return opening;
  };
  const material = await failover.run(openIn);
  fingerprint = material.fingerprint;
  const first = remote(material);
  const keyIn = async (role: MemberRole) => {
    const found = await openIn(role);
    // It may have been opened while there was nothing yet to hold it against.
    requireSame(group, fingerprint, found.fingerprint);
    return remote(found);
  };
  const run = <Result>(use: (key: RemoteKey) => Promise<Result>) =>
    failover.run(async (role) => use(await keyIn(role)));
  const privateKey: RemoteKey = {
    keystore: group,
    algorithm: first.algorithm,
    publicKey: first.publicKey,
    schemes: first.schemes,
    sign: (scheme, data) => run((key) => key.sign(scheme, data)),
    ...(first.signMany === undefined
      ? {}
      : {
          signMany: (scheme: SchemeName, datas: readonly Uint8Array[]) =>
            run((key) => signAll(key, scheme, datas)),
        }),
    ...optionalUses(first, run),
  };
  return { ...material, privateKey };
}

async function signAll(key: RemoteKey, scheme: SchemeName, datas: readonly Uint8Array[]) {
  if (key.signMany !== undefined) return key.signMany(scheme, datas);
  return Promise.all(datas.map((data) => key.sign(scheme, data)));
}

function optionalUses(
  first: RemoteKey,
  run: <Result>(use: (key: RemoteKey) => Promise<Result>) => Promise<Result>,
): Pick<RemoteKey, 'decrypt' | 'agree' | 'unwrap' | 'mac'> {
  const { decrypt, agree, unwrap, mac } = first;
  return {
    ...(decrypt && { decrypt: (...asked) => run(async (key) => use(key, 'decrypt')(...asked)) }),
    ...(agree && { agree: (...asked) => run(async (key) => use(key, 'agree')(...asked)) }),
    ...(unwrap && { unwrap: (...asked) => run(async (key) => use(key, 'unwrap')(...asked)) }),
    ...(mac && { mac: (...asked) => run(async (key) => use(key, 'mac')(...asked)) }),
  };
}

/** A use that one member has and the other may lack. Error: `capability-missing`. */
function use<Name extends 'decrypt' | 'agree' | 'unwrap' | 'mac'>(
  key: RemoteKey,
  name: Name,
): NonNullable<RemoteKey[Name]> {
  const found = key[name];
  if (found !== undefined) return found.bind(key) as NonNullable<RemoteKey[Name]>;
  throw new KeyreeveError(
    'capability-missing',
    `The keystore "${key.keystore}", which stands in for the other of its group, cannot ${name}.`,
    { hint: 'Group tokens of the same kind.' },
  );
}

function remote({ privateKey }: KeyMaterial): RemoteKey {
  if (isRemoteKey(privateKey)) return privateKey;
  throw new TypeError('members of groups hold remote keys');
}

function requireSame(group: string, known: string | undefined, found: string): void {
  if (known === undefined || known === found) return;
  throw new KeyreeveError(
    'integrity-failed',
    `The members of the keystore group "${group}" hold different keys under one id.`,
    { hint: 'Find out which of the two is right, and remove the other from its token.' },
  );
}
