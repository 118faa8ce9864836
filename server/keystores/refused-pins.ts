import type { Storage } from '../storage/storage.ts';
import type { RefusedPins } from './root-key-kinds.ts';

const name = 'root-key-refused-pin';

/** Kept in the database, which is open before the root key is. */
export function createRefusedPins(storage: Storage): RefusedPins {
  const { db } = storage;
  return {
    recall: async () => {
      const row = await db
        .selectFrom('meta')
        .select('value')
        .where('name', '=', name)
        .executeTakeFirst();
      return row?.value;
    },
    note: async (value) => {
      const query = db
        .insertInto('meta')
        .values({ name, value })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
        .compile();
      await storage.commit({ steps: [{ query }], entries: [] });
    },
  };
}
