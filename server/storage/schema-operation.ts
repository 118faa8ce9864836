/** Tables of nodes, their work, approvals and alerts; see `schema.ts`. */
export interface OperationSchema {
  /** The processes that serve this database, each under an id of one life. */
  node: {
    id: string;
    /** Host name and process, for people. */
    name: string;
    version: string;
    started_at: number;
    /** Written every few seconds: one that was not seen for long is gone. */
    seen_at: number;
  };
  /** Keys that were destroyed: each node keeps a signed note of them outside the database. */
  tombstone: { key_id: string; key_name: string; destroyed_at: number };
  /** Work that repeats, once for all nodes: when it ran last, and what came of it. */
  job: {
    name: string;
    /** The node that ran it last. */
    node_id: string | null;
    started_at: number | null;
    ended_at: number | null;
    succeeded_at: number | null;
    next_at: number;
    /** Failures in a row. */
    failures: number;
    /** Why the last run failed. */
    reason: string | null;
  };
  /** Which commands need the approval of others. The highest version is in force. */
  approval_rules: {
    version: number;
    rules_json: string;
    digest: string;
    applied_at: number;
    applied_by: string;
  };
  /** A command that waits until others agree to it. */
  approval: {
    id: string;
    /** pending, executed, rejected, withdrawn, expired, void */
    state: string;
    /** ordinary, break-glass */
    kind: string;
    action: string;
    principal_id: string;
    credential_id: string;
    /** Everybody the request rests on (none of them approves), and the rights it was made with. */
    requesters_json: string;
    /** Canonical JSON of route, parameters and body; secrets as salted commitments. */
    command_json: string;
    /** SHA-256 of everything that approvers see, with nonce and end: what they agree to. */
    digest: string;
    /** Salt of the commitments, of which the nonce is made: sealed by the store key. */
    salt: Uint8Array;
    requirements_json: string;
    reason: string | null;
    created_at: number;
    expires_at: number;
    ended_at: number | null;
    revision: number;
  };
  /** What each person said: one word of each. */
  approval_decision: {
    approval_id: string;
    principal_id: string;
    credential_id: string;
    /** approve, reject */
    decision: string;
    roles_json: string;
    reason: string | null;
    decided_at: number;
  };
  /** Who is told of what happens. */
  alert_target: {
    id: string;
    name: string;
    /** webhook, slack, syslog, mail */
    kind: string;
    settings_json: string;
    /** Key of the signature, password or URL that is a secret: sealed by the store key. */
    secret: Uint8Array | null;
    created_at: number;
    created_by: string;
    delivered_at: number | null;
    failed_at: number | null;
    reason: string | null;
    revision: number;
  };
}
