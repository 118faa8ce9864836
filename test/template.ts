import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const cluster = join(import.meta.dirname, '..', 'deploy', 'cluster');

/** The path of a file that operators get for an installation of several nodes. */
export function clusterFile(name: string): string {
  return join(cluster, name);
}

/**
 * A file for operators with its placeholders (`@NAME@`) filled in. Throws where one is left over, or
 * where the file has none of a name that was given: neither side can change alone.
 */
export function fillTemplate(name: string, values: Readonly<Record<string, string>>): string {
  const text = readFileSync(clusterFile(name), 'utf8');
  const used = new Set<string>();
  const filled = text.replace(/@([A-Z][A-Z0-9_]*)@/g, (_, placeholder: string) => {
    const value = values[placeholder];
    if (value === undefined) throw new Error(`${name}: nothing is given for @${placeholder}@`);
    used.add(placeholder);
    return value;
  });
  const unused = Object.keys(values).filter((placeholder) => !used.has(placeholder));
  if (unused.length > 0) throw new Error(`${name} has no @${unused.join('@, @')}@`);
  return filled;
}

/** The settings of a file of `NAME=value` lines, as systemd reads it. */
export function environmentOf(text: string): Readonly<Record<string, string>> {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => {
      const [name, ...value] = line.split('=');
      return [name!, value.join('=')];
    }),
  );
}
