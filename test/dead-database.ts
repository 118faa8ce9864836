import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Installation } from './service.ts';

/**
 * Reads the database of a service that is not running, from a copy: to open the database itself
 * would recover it before the service does.
 */
export function deadDatabase<Result>(
  { data, folder }: Pick<Installation, 'data' | 'folder'>,
  read: (database: DatabaseSync) => Result,
): Result {
  const copy = join(folder, 'copy');
  mkdirSync(copy);
  try {
    for (const file of readdirSync(data)) {
      if (file.startsWith('keyreeve.db')) cpSync(join(data, file), join(copy, file));
    }
    const database = new DatabaseSync(join(copy, 'keyreeve.db'));
    try {
      return read(database);
    } finally {
      database.close();
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
}
