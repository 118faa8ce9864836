import { toSqlite } from './dialect.ts';
import type { Migration } from './migration.ts';

/** Several nodes on one database, approvals, work that repeats, and who is told of what. */
export const nodes: Migration = {
  id: 4,
  name: 'nodes',
  up(dialect) {
    return dialect === 'postgres' ? statements : statements.map(toSqlite);
  },
};

const statements = [
  // The lowest schema whose programs live with this one; null: this one's own only.
  `ALTER TABLE "schema_version" ADD COLUMN "floor" BIGINT`,
  `CREATE TABLE "node" (
      "id" TEXT NOT NULL PRIMARY KEY, "name" TEXT NOT NULL, "version" TEXT NOT NULL,
      "started_at" BIGINT NOT NULL, "seen_at" BIGINT NOT NULL)`,
  // Whose act it is; empty for those of before there were nodes.
  `ALTER TABLE "intent" ADD COLUMN "node_id" TEXT NOT NULL DEFAULT ''`,
  `CREATE TABLE "job" (
      "name" TEXT NOT NULL PRIMARY KEY, "node_id" TEXT, "started_at" BIGINT, "ended_at" BIGINT,
      "succeeded_at" BIGINT, "next_at" BIGINT NOT NULL, "failures" BIGINT NOT NULL, "reason" TEXT)`,
  `CREATE TABLE "approval_rules" (
      "version" BIGINT PRIMARY KEY, "rules_json" TEXT NOT NULL, "digest" TEXT NOT NULL,
      "applied_at" BIGINT NOT NULL, "applied_by" TEXT NOT NULL)`,
  `CREATE TABLE "approval" (
      "id" TEXT COLLATE "C" NOT NULL PRIMARY KEY, "state" TEXT NOT NULL, "kind" TEXT NOT NULL,
      "action" TEXT NOT NULL, "principal_id" TEXT NOT NULL, "credential_id" TEXT NOT NULL,
      "requesters_json" TEXT NOT NULL, "command_json" TEXT NOT NULL, "digest" TEXT NOT NULL,
      "salt" BYTEA NOT NULL, "requirements_json" TEXT NOT NULL, "reason" TEXT,
      "created_at" BIGINT NOT NULL, "expires_at" BIGINT NOT NULL, "ended_at" BIGINT,
      "revision" BIGINT NOT NULL)`,
  `CREATE INDEX "approval_open" ON "approval" ("principal_id", "action") WHERE "state" = 'pending'`,
  `CREATE TABLE "approval_decision" (
      "approval_id" TEXT COLLATE "C" NOT NULL REFERENCES "approval" ("id"),
      "principal_id" TEXT NOT NULL, "credential_id" TEXT NOT NULL, "decision" TEXT NOT NULL,
      "roles_json" TEXT NOT NULL, "reason" TEXT, "decided_at" BIGINT NOT NULL,
      PRIMARY KEY ("approval_id", "principal_id"))`,
  `CREATE TABLE "alert_target" (
      "id" TEXT NOT NULL PRIMARY KEY, "name" TEXT NOT NULL UNIQUE, "kind" TEXT NOT NULL,
      "settings_json" TEXT NOT NULL, "secret" BYTEA, "created_at" BIGINT NOT NULL,
      "created_by" TEXT NOT NULL, "delivered_at" BIGINT, "failed_at" BIGINT, "reason" TEXT,
      "revision" BIGINT NOT NULL)`,
  `CREATE INDEX "outbox_by_topic" ON "outbox" ("topic", "id") WHERE "delivered_at" IS NULL`,
  // What people were told of once: that a key is due, and that a certificate of a CA ends.
  `ALTER TABLE "key" ADD COLUMN "rotation_told" BIGINT`,
  `ALTER TABLE "ca_version" ADD COLUMN "expiry_told" BIGINT`,
  // What every node keeps a note of outside the database: restoring a backup replays it.
  `CREATE TABLE "tombstone" (
      "key_id" TEXT NOT NULL PRIMARY KEY, "key_name" TEXT NOT NULL, "destroyed_at" BIGINT NOT NULL)`,
  `CREATE INDEX "tombstone_by_time" ON "tombstone" ("destroyed_at")`,
  // Who makes the next CRL of a version, and until when nobody else begins one.
  `ALTER TABLE "ca_version" ADD COLUMN "crl_claimed_by" TEXT`,
  `ALTER TABLE "ca_version" ADD COLUMN "crl_claimed_until" BIGINT`,
  // The subject as names are compared; null for CAs of before.
  `ALTER TABLE "ca" ADD COLUMN "subject_folded" TEXT`,
  `CREATE UNIQUE INDEX "ca_by_subject_folded" ON "ca" ("subject_folded")`,
  // Of a million keys, those of a purpose in the order of their names, and those that are gone.
  `CREATE INDEX "key_by_purpose" ON "key" ("purpose", "name")`,
  `CREATE INDEX "key_version_destroyed" ON "key_version" ("key_id") WHERE "state" = 'destroyed'`,
  // Who has access to what lies in a keystore is reviewed at times.
  `ALTER TABLE "keystore" ADD COLUMN "reviewed_at" BIGINT`,
  `ALTER TABLE "keystore" ADD COLUMN "reviewed_by" TEXT`,
];
