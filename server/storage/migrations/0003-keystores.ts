import { toSqlite } from './dialect.ts';
import type { Migration } from './migration.ts';

/** Keystores that are added by command. */
export const keystores: Migration = {
  id: 3,
  name: 'keystores',
  up(dialect) {
    return dialect === 'postgres' ? tables : tables.map(toSqlite);
  },
};

const tables = [
  `CREATE TABLE "keystore" (
      "name" TEXT COLLATE "C" NOT NULL PRIMARY KEY, "kind" TEXT NOT NULL, "uri" TEXT,
      "settings_json" TEXT NOT NULL, "state" TEXT NOT NULL, "refused_pin" TEXT, "drill_json" TEXT,
      "created_at" BIGINT NOT NULL, "created_by" TEXT NOT NULL, "revision" BIGINT NOT NULL)`,
  // How many keys lie where.
  `CREATE INDEX "key_by_keystore" ON "key" ("keystore")`,
];
