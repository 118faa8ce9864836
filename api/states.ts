import type { Operation, Purpose } from './purposes.ts';

/** The states of a key version, after NIST SP 800-57 part 1 revision 5, section 7. */
export const keyStates = [
  'pre-active',
  'active',
  'suspended',
  'deactivated',
  'compromised',
  'destroyed',
] as const;
export type KeyState = (typeof keyStates)[number];

/** Which state may follow which. What is not listed is refused. */
export const stateTransitions = {
  'pre-active': ['active', 'compromised', 'destroyed'],
  active: ['suspended', 'deactivated', 'compromised'],
  suspended: ['active', 'deactivated', 'compromised'],
  deactivated: ['compromised', 'destroyed'],
  compromised: ['destroyed'],
  destroyed: [],
} as const satisfies Record<KeyState, readonly KeyState[]>;

/** Operations that protect new data; the others process what was protected before. */
const protecting = ['sign', 'encrypt', 'mac', 'data-key', 'wrap', 'encapsulate'] as const;
// An agreement serves both sides: what was sealed to an old version is opened with it.
const processing = ['verify', 'decrypt', 'verify-mac', 'unwrap', 'agree', 'decapsulate'] as const;

const byPurpose = {
  sign: ['sign', 'verify'],
  encrypt: ['encrypt', 'decrypt', 'data-key'],
  mac: ['mac', 'verify-mac'],
  wrap: ['wrap', 'unwrap'],
  agree: ['agree'],
  encapsulate: ['encapsulate', 'decapsulate'],
  ca: ['sign-certificate', 'sign-crl'],
} as const satisfies Record<Purpose, readonly Operation[]>;

const byState = {
  'pre-active': [],
  active: [...protecting, ...processing, 'sign-certificate', 'sign-crl'],
  suspended: ['verify', 'verify-mac'],
  // A retired CA version signs CRLs until its last certificate ends.
  deactivated: [...processing, 'sign-crl'],
  // A compromised key processes what it protected, so that data can be saved; never new data.
  compromised: [...processing, 'sign-crl'],
  destroyed: [],
} as const satisfies Record<KeyState, readonly Operation[]>;

/** Whether a key of this purpose may do this at all. */
export function purposeAllows(purpose: Purpose, operation: Operation): boolean {
  return (byPurpose[purpose] as readonly Operation[]).includes(operation);
}

/** The one table: purpose x operation x state. Every door asks it. */
export function isAllowed(purpose: Purpose, operation: Operation, state: KeyState): boolean {
  return (
    purposeAllows(purpose, operation) &&
    (byState[state] as readonly Operation[]).includes(operation)
  );
}

/** Whether a version may go from one state to the other. */
export function mayFollow(from: KeyState, to: KeyState): boolean {
  return (stateTransitions[from] as readonly KeyState[]).includes(to);
}

/** The operations of a purpose, in the order in which people think of them. */
export function operationsOf(purpose: Purpose): readonly Operation[] {
  return byPurpose[purpose];
}
