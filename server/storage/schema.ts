import type { Generated } from 'kysely';
import type { CertificateSchema } from './schema-certificates.ts';
import type { OperationSchema } from './schema-operation.ts';

/**
 * The tables, one interface each, the same on SQLite and PostgreSQL. Times are milliseconds since
 * 1970 in UTC; `..._json` columns hold canonical JSON text; flags are 0 or 1. The SQL that makes
 * them is in `migrations/`.
 */
export interface Schema extends CertificateSchema, OperationSchema {
  /** One row for each migration that was run; the highest version is the schema's. */
  schema_version: {
    version: number;
    name: string;
    applied_at: number;
    /** The lowest schema whose programs live with this one; null: this one's own only. */
    floor: number | null;
  };
  /** Facts of this installation: id, root key fingerprint, time of creation. */
  meta: { name: string; value: string };
  /** One row: raised by every change that a cache must notice. */
  epoch: { id: 1; value: number };
  /** Who may do a job that only one may do at a time; `fence` grows with every new holder. */
  lease: { name: string; holder: string; fence: number; expires_at: number };
  /** AES-256 keys that wrap the private keys of `wrapped:`; each wrapped by the root key. */
  store_key: {
    id: string;
    wrapped: Uint8Array;
    root_fingerprint: string;
    created_at: number;
    /** 1 for the one that wraps new keys. */
    is_current: number;
  };
  key: {
    id: string;
    name: string;
    /** Everything before the last slash of the name; empty at the top. */
    folder: string;
    purpose: string;
    /** The algorithm of the next version. */
    algorithm: string;
    schemes_json: string;
    policy_json: string;
    labels_json: string;
    owner_id: string;
    /** Name of the keystore of the next version. */
    keystore: string;
    /** The version that makes new signatures and ciphertexts. */
    current_version: number;
    created_at: number;
    /** Not null while the key waits to be destroyed: all use is refused. */
    destroy_at: number | null;
    /** When the policy wants the key rotated. */
    rotation_due_at: number | null;
    /** The due time of which people were told, where the key is not rotated by the service. */
    rotation_told: number | null;
    /** Raised by every change of the row: compare and set. */
    revision: number;
  };
  key_version: {
    key_id: string;
    version: number;
    algorithm: string;
    state: string;
    /** SPKI in DER; null for secret keys. */
    public_key: Uint8Array | null;
    fingerprint: string;
    /** Where the private half lives: `wrapped:`, `file:...`. */
    uri: string;
    /** The wrapped private key, where the keystore keeps it in the database. */
    private_blob: Uint8Array | null;
    store_key_id: string | null;
    /** generated, imported, restored ... */
    origin: string;
    created_at: number;
    activates_at: number | null;
    deactivates_at: number | null;
    state_changed_at: number;
    /** Reserved uses of a counted scheme (AES-GCM): never less than those made. */
    uses_reserved: number;
  };
  /** Keystores that were added by command, beside those of the configuration. */
  keystore: {
    name: string;
    /** pkcs11, group */
    kind: string;
    /** The PKCS #11 URI: names module, token and PIN file; null for groups. */
    uri: string | null;
    settings_json: string;
    /** available, unavailable: what the record says last. */
    state: string;
    /** Which PIN file the token refused, so that its PIN is not tried again; null where it did not. */
    refused_pin: string | null;
    /** Outcome of the last drill. */
    drill_json: string | null;
    created_at: number;
    created_by: string;
    revision: number;
    /** When it was last reviewed who has access to it; null: never. */
    reviewed_at: number | null;
    reviewed_by: string | null;
  };
  principal: {
    id: string;
    name: string;
    /** person, service, device */
    kind: string;
    /** active, disabled */
    state: string;
    roles_json: string;
    created_at: number;
    created_by: string | null;
    revision: number;
  };
  token: {
    id: string;
    principal_id: string;
    /** SHA-256 of the token: the token itself is never stored. */
    hash: Uint8Array;
    label: string;
    /** Roles and folders that the token is narrowed to. */
    scope_json: string;
    created_at: number;
    created_by: string;
    /** The token that made this one: it ends with its maker's rights. */
    parent_id: string | null;
    expires_at: number;
    revoked_at: number | null;
  };
  /** Access rules, one row for each `access apply`. The highest version is in force. */
  access_rules: {
    version: number;
    policies: string;
    digest: string;
    applied_at: number;
    applied_by: string;
  };
  /** Login codes that were used: a code works once. */
  used_login_code: { code_hash: string; used_at: number };
  /** Failed logins and the like, counted across processes. */
  rate_bucket: { bucket: string; window_start: number; count: number };
  idempotency: {
    principal_id: string;
    idempotency_key: string;
    /** SHA-256 of route and canonical body. */
    request_digest: string;
    status: number;
    /** The answer, sealed: it may hold a token. */
    response: Uint8Array;
    created_at: number;
    expires_at: number;
  };
  /** Acts under way that leave something outside the database; settled at the next start. */
  intent: {
    id: string;
    kind: string;
    payload_json: string;
    entry_id: string;
    created_at: number;
    /** The node whose act it is: another one settles it once that node is gone. */
    node_id: Generated<string>;
  };
  outbox: {
    id: Generated<number>;
    topic: string;
    payload_json: string;
    created_at: number;
    attempts: number;
    next_attempt_at: number;
    delivered_at: number | null;
  };
  /** Entries that have no place in the tree yet. */
  entry_tail: { id: Generated<number>; leaf: Uint8Array; opening: Uint8Array };
  /** 256 leaves and their openings, concatenated (see docs/record-format.md). The last may be partial. */
  bundle: {
    number: number;
    width: number;
    leaves: Uint8Array;
    /** Null once moved to cold storage or past retention. */
    openings: Uint8Array | null;
    first_time: number;
    last_time: number;
  };
  /** C2SP tlog-tiles: 256 hashes of 32 bytes when full. */
  tile: { level: number; number: number; width: number; hashes: Uint8Array };
  /** Which bundles hold entries about a key or principal. */
  bundle_term: { term: Uint8Array; bundle: number };
  /**
   * For each entry of a bundle, in their order, 8 bytes that stand for its correlation id. In a
   * table of their own, so that a search reads them without the bundles between them.
   */
  bundle_call: { number: number; terms: Uint8Array };
  /** One row: the tree as it stands. */
  tree: { id: 1; size: number; origin: string; checkpoint: string; updated_at: number };
  /** The keys that signed checkpoints; the newest signs. */
  log_key: {
    id: string;
    origin: string;
    /** The verifier key line of C2SP signed-note. */
    verifier_key: string;
    /** Seed of the Ed25519 key, sealed by the store key. */
    sealed_seed: Uint8Array;
    created_at: number;
    /** Last checkpoint of the log that this one continues after a restore. */
    predecessor: string | null;
  };
  /** Backups that were made: destruction names those that still hold a key. */
  backup: {
    id: string;
    created_at: number;
    created_by: string;
    tree_size: number;
    label: string;
  };
}

export type TableName = keyof Schema;

const tables: Record<TableName, true> = {
  schema_version: true,
  meta: true,
  epoch: true,
  lease: true,
  store_key: true,
  key: true,
  key_version: true,
  keystore: true,
  principal: true,
  ca: true,
  certificate: true,
  certificate_name: true,
  ca_version: true,
  crl: true,
  blocked_key: true,
  certificate_profile: true,
  certificate_binding: true,
  token: true,
  access_rules: true,
  used_login_code: true,
  rate_bucket: true,
  idempotency: true,
  intent: true,
  outbox: true,
  entry_tail: true,
  bundle: true,
  tile: true,
  bundle_term: true,
  bundle_call: true,
  tree: true,
  log_key: true,
  backup: true,
  node: true,
  job: true,
  tombstone: true,
  approval_rules: true,
  approval: true,
  approval_decision: true,
  alert_target: true,
};

/** Every table, each after those it refers to. */
export const tableNames = Object.keys(tables) as readonly TableName[];

/**
 * What the certificates above a CA are found by that was certified outside: search terms of their
 * rows.
 */
export function aboveTerm(keyId: string): string {
  return `above:${keyId}`;
}
