import type { AssuranceLevel } from '../../api/assurance.ts';
import type { Keystore, KeystoreDescription } from './keystore.ts';

/**
 * The keystore with the level that its operator declares for it. The declaration counts where
 * nobody else has a word: a token that says of itself that it is software stays at its own.
 */
export function declareAssurance<Kind extends Keystore>(
  keystore: Kind,
  level: AssuranceLevel,
): Kind {
  const describe = async () => withDeclared(await keystore.describe(), level);
  return new Proxy(keystore, {
    get: (target, property) => {
      if (property === 'describe') return describe;
      // Bound to the keystore itself: its private fields are not the proxy's.
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function withDeclared(said: KeystoreDescription, level: AssuranceLevel): KeystoreDescription {
  if (said.assuranceFrom !== 'nobody') return said;
  return { ...said, assurance: level, assuranceFrom: 'operator' };
}
