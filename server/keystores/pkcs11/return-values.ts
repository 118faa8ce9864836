/** Return values of PKCS #11 (v3.1, section 5) that something is done about, by what it is. */
const kinds = {
  /** The session or a handle of it is no good any more: a new one may be. */
  session: [0xb0, 0xb3, 0x101, 0x60, 0x82, 0x90, 0x91],
  /** The device or the module's view of it is no good any more: a new process may be. */
  device: [0x03, 0x30, 0x32, 0xe0, 0xe1, 0x190],
  /** The PIN is refused. Asked again, a token locks. */
  pin: [0xa0, 0xa1, 0xa2, 0xa3, 0x102],
  'pin-locked': [0xa4],
  /** The token cannot do this, now or later. */
  unsupported: [0x10, 0x12, 0x13, 0x54, 0x62, 0x63, 0x68, 0x70, 0x71, 0xd0, 0xd1, 0x130, 0x140],
  /** The input is not what the key and the mechanism take. */
  data: [0x20, 0x21, 0x40, 0x41, 0x110, 0x112],
  /** No room in the token: it may be there later. */
  full: [0x02, 0x31, 0xb1],
} as const;

export type FaultKind = keyof typeof kinds | 'other';

const kindOf = new Map<number, FaultKind>(
  Object.entries(kinds).flatMap(([kind, values]) =>
    values.map((value) => [value, kind as FaultKind] as const),
  ),
);

/** What a return value is. `other` says nothing by itself: the session has to be looked at. */
export function faultKind(returnValue: number): FaultKind {
  return kindOf.get(returnValue) ?? 'other';
}

export const returnValues = {
  cannotLock: 0x0a,
  sessionCount: 0xb1,
  userAlreadyLoggedIn: 0x100,
  attributeTypeInvalid: 0x12,
  attributeSensitive: 0x11,
  alreadyInitialized: 0x191,
} as const;
