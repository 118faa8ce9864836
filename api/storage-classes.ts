import type { Operation, Purpose } from './purposes.ts';

/** Where private keys can live, by the kind of keystore. `pkcs11` is an HSM, a TPM or a card. */
export const keystoreKinds = ['wrapped', 'file', 'pkcs11'] as const;
export type KeystoreKind = (typeof keystoreKinds)[number];

/** Whether private keys of the kind never leave a device. */
export function isHardware(kind: KeystoreKind): boolean {
  return kind === 'pkcs11';
}

/** The classes of keys, in the order of the document's table. */
export const storageClassNames = [
  'root-ca',
  'tls-server',
  'tls-client',
  'e2ee-identity',
  'e2ee-ratchet',
] as const;
export type StorageClassName = (typeof storageClassNames)[number];

export interface StorageClass {
  /** The row of the table: which key, where it has to be, and who may use it. */
  readonly key: string;
  readonly storage: string;
  readonly access: string;
  /** Kinds of keystores of the service that may hold it; none where it lives on a device. */
  readonly keystores: readonly KeystoreKind[];
  /** What a key of the class is for, where the service holds any. */
  readonly purpose: Purpose | undefined;
  /** All that is ever done with it here. */
  readonly operations: readonly Operation[];
  /** What to do instead where a keystore is refused. */
  readonly instead: string;
}

/**
 * The table "Storage requirements" of the key management document of the PKI and end-to-end
 * encryption system, row by row. What a keystore promises is the keystore's own rule: `file` refuses
 * a file that is not of mode 0600, or that belongs to another user than the process.
 */
export const storageClasses = {
  'root-ca': {
    key: 'Root CA private key',
    storage: 'Offline / HSM / TPM',
    access: 'Issuance and revocation only',
    keystores: ['pkcs11'],
    purpose: 'ca',
    operations: ['sign-certificate', 'sign-crl'],
    instead:
      'Keep the root in an HSM or a TPM, or offline, and certify an intermediate CA of this service with it.',
  },
  'tls-server': {
    key: 'Server TLS private key',
    storage: 'Node disk (restricted permissions) or TPM',
    access: 'Node process only',
    keystores: ['file', 'pkcs11'],
    purpose: 'sign',
    operations: ['sign', 'verify'],
    instead: 'Make it on the node and send a request (--csr), or take --keystore file.',
  },
  'tls-client': {
    key: 'Client TLS private key',
    storage: 'Device keychain / TPM',
    access: 'Client app only',
    keystores: [],
    purpose: undefined,
    operations: [],
    instead: 'Make it on the device and send a request: keyreeve cert request, then --csr.',
  },
  'e2ee-identity': {
    key: 'E2EE identity key',
    storage: 'Device secure storage',
    access: 'Client app only',
    keystores: [],
    purpose: undefined,
    operations: [],
    instead: 'Make it on the device: the service never sees it.',
  },
  'e2ee-ratchet': {
    key: 'E2EE ratchet state',
    storage: 'Device local DB (encrypted)',
    access: 'Client app only',
    keystores: [],
    purpose: undefined,
    operations: [],
    instead: 'Keep it on the device: the service never sees it.',
  },
} as const satisfies Record<StorageClassName, StorageClass>;

/** How the table is applied: to the keys whose policy names a class, or to all it speaks of. */
export const storageTables = ['default', 'enforced'] as const;
export type StorageTable = (typeof storageTables)[number];
