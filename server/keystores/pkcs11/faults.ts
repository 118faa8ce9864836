import { KeyreeveError } from '../../base/errors.ts';
import type { Fault } from './protocol.ts';

/** Seconds after which a caller may ask again. */
const retrySeconds = 1;

/** What people call the token in messages. */
export interface FaultContext {
  /** The name of the keystore. */
  readonly keystore: string;
  /** How its URI names the token. */
  readonly token: string;
  readonly modulePath: string;
}

/** The error that callers get for a fault of module or token, with what it was. */
export class TokenFaultError extends KeyreeveError {
  readonly kind: Fault['kind'];

  constructor(context: FaultContext, fault: Fault) {
    const { code, message, hint, retryAfterSeconds } = errorOf(context, fault);
    super(code, message, {
      ...(hint === undefined ? {} : { hint }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      cause: new Error(fault.text),
    });
    this.kind = fault.kind;
  }
}

function errorOf(context: FaultContext, fault: Fault): KeyreeveError {
  const { keystore, token, modulePath } = context;
  switch (fault.kind) {
    case 'addon-missing':
      return new KeyreeveError(
        'capability-missing',
        'The part of Keyreeve that speaks to PKCS #11 modules is not built.',
        {
          hint: 'Install a compiler (Debian: apt-get install g++ make python3) and run: npm run build:pkcs11',
        },
      );
    case 'module-missing':
      return unavailable(
        `The PKCS #11 module ${modulePath} of the keystore "${keystore}" cannot be loaded.`,
        'Install it, or correct module-path in the URI of the keystore.',
      );
    case 'token-missing':
      return unavailable(
        `The token ${token} of the keystore "${keystore}" is not there.`,
        'Connect it, or correct the URI of the keystore; the service goes on by itself.',
      );
    case 'start-failed':
      return unavailable(
        `The token ${token} of the keystore "${keystore}" cannot be reached (${fault.text}).`,
        'Look at the token and at the settings of its module; the service goes on by itself.',
      );
    case 'token-ambiguous':
      return new KeyreeveError('config-invalid', `Several tokens are named ${token}.`, {
        hint: 'Add serial=... to the URI of the keystore.',
      });
    case 'pin-missing':
      return new KeyreeveError('config-invalid', `The token ${token} asks for a PIN.`, {
        hint: 'Name a file with it in the URI of the keystore: pin-source=file:/path.',
      });
    case 'pin':
      return new KeyreeveError(
        'wrong-passphrase',
        `The token ${token} of the keystore "${keystore}" refuses the PIN (${fault.text}).`,
        {
          hint: 'It is not tried again, since tokens lock. Write the right PIN to its file.',
        },
      );
    case 'pin-locked':
      return new KeyreeveError(
        'wrong-passphrase',
        `The PIN of the token ${token} of the keystore "${keystore}" is locked.`,
        {
          hint: 'Unlock it with the SO PIN and the tools of the token, then write the PIN file anew.',
        },
      );
    case 'unsupported':
      return new KeyreeveError(
        'capability-missing',
        `The token ${token} of the keystore "${keystore}" cannot do this (${fault.text}).`,
        { hint: 'Choose another algorithm or scheme, or another keystore.' },
      );
    case 'missing':
      return unavailable(
        `The key is not in the token ${token} of the keystore "${keystore}".`,
        'Bring the token back that holds it, or restore its backup.',
      );
    case 'ambiguous':
      return new KeyreeveError(
        'integrity-failed',
        `Several keys in the token ${token} have the same name.`,
        { hint: 'Give each key of the token an id (CKA_ID) of its own.' },
      );
    case 'exposed':
      return new KeyreeveError(
        'capability-missing',
        `The token ${token} does not guard its keys: ${fault.text}. The key was removed again.`,
        { hint: 'Correct the settings of the token, or choose another keystore.' },
      );
    case 'full':
      return unavailable(
        `The token ${token} of the keystore "${keystore}" has no room (${fault.text}).`,
        'Remove keys that are not needed, or end other sessions with the token.',
      );
    case 'device':
    case 'session':
    case 'data':
    case 'other':
      return unavailable(
        `The token ${token} of the keystore "${keystore}" failed (${fault.text}).`,
        'Try again; if it stays so, look at the token and its module.',
      );
  }
}

/** `keystore-unavailable`: the caller may try again. */
export function unavailable(message: string, hint: string, cause?: unknown): KeyreeveError {
  return new KeyreeveError('keystore-unavailable', message, {
    hint,
    retryAfterSeconds: retrySeconds,
    cause,
  });
}
