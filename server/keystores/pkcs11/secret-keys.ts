import {
  type AlgorithmName,
  algorithmNames,
  algorithms,
  type NodeKey,
} from '../../../api/algorithms.ts';
import { keyTypes, mechanisms } from './constants.ts';
import type { FoundObject, ObjectSelector, UseRequest } from './protocol.ts';
import type { Supervisor } from './supervisor.ts';

/** The key check value of all secret keys: the start of HMAC-SHA-256 of a text that never changes. */
const keyCheckText = 'keyreeve key check value';
const keyCheckBytes = 16;
const hmacBytes = 32;

/** The fingerprint of a secret key in a token, the same as it would have outside. */
export async function secretFingerprint(
  supervisor: Supervisor,
  key: ObjectSelector,
): Promise<string> {
  const mechanism = { mechanism: mechanisms.sha256Hmac };
  const request: UseRequest = { key, mechanism, answerBytes: hmacBytes };
  const head = Buffer.from(JSON.stringify(request));
  const answer = await supervisor.call('sign', head, [Buffer.from(keyCheckText)]);
  return answer.items[0]?.toString('hex', 0, keyCheckBytes) ?? '';
}

/** HMAC keys are told apart by their length: tokens call all of them generic secrets. */
export function secretAlgorithmOf(key: FoundObject): AlgorithmName | undefined {
  if (key.keyType !== keyTypes.genericSecret) return undefined;
  return algorithmNames.find((name) => {
    const node: NodeKey = algorithms[name].node;
    return node.type === 'secret' && node.generator === 'hmac' && node.bits / 8 === key.valueBytes;
  });
}
