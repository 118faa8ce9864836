import { toSqlite } from './dialect.ts';
import type { Migration } from './migration.ts';

/** Certificate authorities, what they issued and revoked, and who logs in with it. */
export const certificates: Migration = {
  id: 2,
  name: 'certificates',
  up(dialect) {
    return dialect === 'postgres' ? tables : tables.map(toSqlite);
  },
};

const tables = [
  `CREATE TABLE "ca" (
      "key_id" TEXT NOT NULL PRIMARY KEY REFERENCES "key" ("id"), "subject" BYTEA NOT NULL,
      "subject_text" TEXT NOT NULL, "parent_id" TEXT REFERENCES "key" ("id"), "state" TEXT NOT NULL,
      "settings_json" TEXT NOT NULL, "created_at" BIGINT NOT NULL, "revision" BIGINT NOT NULL)`,
  `CREATE TABLE "certificate" (
      "id" TEXT COLLATE "C" NOT NULL PRIMARY KEY, "ca_id" TEXT REFERENCES "key" ("id"),
      "ca_version" BIGINT, "serial" TEXT NOT NULL, "subject" TEXT NOT NULL, "profile" TEXT NOT NULL,
      "not_before" BIGINT NOT NULL, "not_after" BIGINT NOT NULL, "fingerprint" TEXT,
      "key_fingerprint" TEXT, "key_id" TEXT REFERENCES "key" ("id"), "key_version" BIGINT,
      "names_json" TEXT NOT NULL, "created_at" BIGINT NOT NULL, "created_by" TEXT NOT NULL,
      "revoked_at" BIGINT, "reason" TEXT, "invalid_from" BIGINT, "der" BYTEA)`,
  `CREATE UNIQUE INDEX "certificate_by_serial" ON "certificate" ("serial", "ca_id")`,
  `CREATE INDEX "certificate_by_fingerprint" ON "certificate" ("fingerprint")`,
  `CREATE INDEX "certificate_by_public_key" ON "certificate" ("key_fingerprint")`,
  // Few certificates are for keys of ours, and few are revoked.
  `CREATE INDEX "certificate_by_key" ON "certificate" ("key_id") WHERE "key_id" IS NOT NULL`,
  `CREATE INDEX "certificate_revoked" ON "certificate" ("ca_id", "not_after", "id")
     WHERE "revoked_at" IS NOT NULL`,
  // What ends when, and what is newest: with the id, by which lists are sorted.
  `CREATE INDEX "certificate_by_authority" ON "certificate" ("ca_id", "not_after", "id")`,
  `CREATE INDEX "certificate_by_age" ON "certificate" ("ca_id", "id")`,
  `CREATE TABLE "certificate_name" (
      "term" TEXT COLLATE "C" NOT NULL, "certificate_id" TEXT COLLATE "C" NOT NULL REFERENCES "certificate" ("id"),
      PRIMARY KEY ("term", "certificate_id"))`,
  `CREATE INDEX "certificate_name_by_certificate" ON "certificate_name" ("certificate_id")`,
  `CREATE TABLE "ca_version" (
      "key_id" TEXT NOT NULL REFERENCES "ca" ("key_id"), "version" BIGINT NOT NULL,
      "certificate_id" TEXT NOT NULL REFERENCES "certificate" ("id"), "crl_number" BIGINT NOT NULL,
      "crl_due_at" BIGINT, "crl_published_at" BIGINT, PRIMARY KEY ("key_id", "version"))`,
  `CREATE INDEX "ca_version_by_crl" ON "ca_version" ("crl_due_at") WHERE "crl_due_at" IS NOT NULL`,
  `CREATE TABLE "crl" (
      "key_id" TEXT NOT NULL, "version" BIGINT NOT NULL, "number" BIGINT NOT NULL,
      "this_update" BIGINT NOT NULL, "next_update" BIGINT NOT NULL, "entries" BIGINT NOT NULL,
      "der" BYTEA NOT NULL, PRIMARY KEY ("key_id", "version", "number"))`,
  `CREATE TABLE "blocked_key" (
      "fingerprint" TEXT NOT NULL PRIMARY KEY, "reason" TEXT NOT NULL, "created_at" BIGINT NOT NULL,
      "created_by" TEXT NOT NULL)`,
  `CREATE TABLE "certificate_profile" (
      "name" TEXT NOT NULL PRIMARY KEY, "body_json" TEXT NOT NULL, "created_at" BIGINT NOT NULL,
      "created_by" TEXT NOT NULL, "revision" BIGINT NOT NULL)`,
  `CREATE TABLE "certificate_binding" (
      "id" TEXT NOT NULL PRIMARY KEY, "principal_id" TEXT NOT NULL REFERENCES "principal" ("id"),
      "ca_id" TEXT NOT NULL REFERENCES "ca" ("key_id"), "kind" TEXT NOT NULL, "value" TEXT NOT NULL,
      "created_at" BIGINT NOT NULL, "created_by" TEXT NOT NULL, UNIQUE ("ca_id", "kind", "value"))`,
];
