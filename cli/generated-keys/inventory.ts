import { closeSync, constants, fsyncSync, openSync, writeSync } from 'node:fs';

export const inventoryName = 'key-inventory.csv';

/** Appends a line: id, algorithm, size, date, state. One write, so that two runs do not mix. */
export function appendInventory(path: string, cells: readonly string[]): void {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
  const file = openSync(path, flags, 0o600);
  try {
    writeSync(file, `${cells.join(',')}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
