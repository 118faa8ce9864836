import { faultKind, returnValues } from '../return-values.ts';
import { type Handle, type NativeModule, returnValueOf } from './addon.ts';

const userType = 1;
const lockIndex = 0;
const refusedIndex = 1;
const lockWaitMilliseconds = 1000;

/** What the threads of a child share to log in: the PIN, a lock, and whether it was refused. */
export interface SharedLogin {
  readonly state: Int32Array<SharedArrayBuffer>;
  /** Undefined where the token asks for none. */
  readonly pin: Uint8Array<SharedArrayBuffer> | undefined;
}

export function shareLogin(pin: Uint8Array | undefined): SharedLogin {
  const shared = pin === undefined ? undefined : new Uint8Array(new SharedArrayBuffer(pin.length));
  if (pin !== undefined) shared?.set(pin);
  return { state: new Int32Array(new SharedArrayBuffer(8)), pin: shared };
}

/** The PIN was refused before: it is not tried again in this process. */
export class PinRefusedError extends Error {}

/**
 * Logs this process in, if it is not. One thread at a time, and never again after a refusal:
 * tokens count wrong PINs and lock. A login holds for all sessions of the process.
 */
export function logIn(module: NativeModule, session: Handle, { state, pin }: SharedLogin): void {
  if (pin === undefined) return;
  while (Atomics.compareExchange(state, lockIndex, 0, 1) !== 0) {
    Atomics.wait(state, lockIndex, 1, lockWaitMilliseconds);
  }
  try {
    if (Atomics.load(state, refusedIndex) !== 0) {
      throw new PinRefusedError('the token refused the PIN before');
    }
    module.C_Login(session, userType, Buffer.from(pin).toString('utf8'));
  } catch (error) {
    const value = returnValueOf(error);
    if (value === returnValues.userAlreadyLoggedIn) return;
    const kind = value === undefined ? 'other' : faultKind(value);
    if (kind === 'pin' || kind === 'pin-locked') Atomics.store(state, refusedIndex, 1);
    throw error;
  } finally {
    Atomics.store(state, lockIndex, 0);
    Atomics.notify(state, lockIndex);
  }
}
