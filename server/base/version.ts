import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The version of the package that this file belongs to. */
export function version(): string {
  // From a clone this is cli/, from a package dist/cli/.
  for (let folder = dirname(import.meta.dirname); ; folder = dirname(folder)) {
    const path = join(folder, 'package.json');
    if (existsSync(path)) return String(JSON.parse(readFileSync(path, 'utf8')).version);
    if (folder === dirname(folder)) return 'unknown';
  }
}
