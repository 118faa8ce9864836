/**
 * The fields of an entry of the record. The numbers go into the leaves of the tree: they never
 * change and are never used again. A leaf commits to each field by itself, so an export can leave
 * any of them out and still be proven (docs/record-format.md).
 */
export const entryFields = {
  id: 1,
  time: 2,
  kind: 3,
  action: 4,
  outcome: 5,
  principalId: 6,
  principalName: 7,
  credentialId: 8,
  address: 9,
  agent: 10,
  correlationId: 11,
  keyId: 12,
  keyName: 13,
  keyVersion: 14,
  resource: 15,
  intentId: 16,
  count: 17,
  inputDigest: 18,
  digestKey: 19,
  detail: 20,
} as const;

export type EntryField = keyof typeof entryFields;

/**
 * intent: about to be done; outcome: a command was done or refused; use: a key was used;
 * event: the service did it by itself.
 */
export type EntryKind = 'intent' | 'outcome' | 'use' | 'event';

/**
 * An entry before it has salts and a place. All values are text: times RFC 3339, numbers decimal,
 * `detail` canonical JSON. `outcome` is `ok` or an error code. `inputDigest` is the hexadecimal
 * HMAC-SHA-256, under the random `digestKey`, of the inputs, each preceded by its length as four
 * bytes: a digest of plaintext is never recorded bare, and exports leave `digestKey` out.
 */
export type EntryDraft = {
  readonly id: string;
  readonly time: string;
  readonly kind: EntryKind;
  readonly action: string;
  readonly outcome: string;
} & {
  readonly [field in Exclude<EntryField, 'id' | 'time' | 'kind' | 'action' | 'outcome'>]?: string;
};
