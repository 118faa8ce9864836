import { createHash } from 'node:crypto';
import type { Storage } from '../storage/storage.ts';
import type { RefusedPins } from './root-key-kinds.ts';

const prefix = 'root-key-refused-pin';

/** Kept in the database, which is open before the root key is. */
export function createRefusedPins(storage: Storage): RefusedPins {
  const { db } = storage;
  return {
    recall: async (token) => {
      const row = await db
        .selectFrom('meta')
        .select('value')
        .where('name', '=', nameOf(token))
        .executeTakeFirst();
      return row?.value;
    },
    note: async (token, value) => {
      const query = db
        .insertInto('meta')
        .values({ name: nameOf(token), value })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
        .compile();
      await storage.commit({ steps: [{ query }], entries: [] });
    },
  };
}

function nameOf(token: string): string {
  return `${prefix}:${createHash('sha256').update(token).digest('hex').slice(0, 32)}`;
}
