import { KeyreeveError } from '../base/errors.ts';

/**
 * The one error for everything encrypted or wrapped that does not open: one code, one message, no
 * cause, so that nobody learns which part was wrong.
 */
export function invalidCiphertext(): KeyreeveError {
  return new KeyreeveError(
    'invalid-ciphertext',
    'The ciphertext was not made with this key and these parameters, or was changed since.',
  );
}
