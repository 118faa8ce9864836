import type { Purpose } from '../../api/purposes.ts';
import type { KeyView } from '../../api/routes/keys.ts';
import type { Tools } from '../act.ts';
import { formatDuration } from '../durations.ts';
import { collectPages, type PageOptions } from '../pages.ts';

interface ListOptions extends PageOptions {
  readonly folder?: string;
  readonly purpose?: string;
  readonly label?: string;
}

export async function listKeys(tools: Tools, options: ListOptions): Promise<void> {
  const client = tools.client();
  const { folder, label } = options;
  const purpose = options.purpose as Purpose | undefined;
  const list = await collectPages(tools.output, options, (page) =>
    client.call('key.list', { query: { ...page, folder, purpose, label } }),
  );
  tools.output.data(list);
  tools.output.table(
    ['NAME', 'PURPOSE', 'ALGORITHM', 'VERSION', 'STATE', 'DUE'],
    list.items.map((key) => [
      key.name,
      key.purpose,
      key.algorithm,
      key.currentVersion === null ? '-' : String(key.currentVersion),
      key.destroyAt === null ? key.state : 'to be destroyed',
      dueOf(key),
    ]),
  );
}

export async function showKey(tools: Tools, _options: unknown, name: string): Promise<void> {
  const key = await tools.client().call('key.show', { params: { key: name } });
  printKey(tools, key);
}

/** The whole of a key: for programs as it is, for people in two tables. */
export function printKey(tools: Tools, key: KeyView): void {
  const { output } = tools;
  output.data(key);
  const labels = Object.entries(key.labels).map(([name, value]) => `${name}=${value}`);
  output.details([
    ['name', key.name],
    ['id', key.id],
    ['purpose', key.purpose],
    ['algorithm', key.algorithm],
    ['schemes', key.schemes.join(', ')],
    ['keystore', key.keystore],
    ['owner', key.owner],
    ['labels', labels.length === 0 ? undefined : labels.join(', ')],
    ['state', key.state],
    ['created', key.createdAt],
    ['rotation due', key.rotationDueAt ?? undefined],
    ['destroyed at', key.destroyAt ?? undefined],
    ['policy', formatPolicy(key.policy)],
  ]);
  output.print('');
  output.table(
    ['VERSION', 'STATE', 'ALGORITHM', 'FROM', 'UNTIL', 'FINGERPRINT'],
    key.versions.map((one) => [
      `${one.version}${one.version === key.currentVersion ? '*' : ''}`,
      one.state,
      one.algorithm,
      one.activatesAt ?? one.createdAt,
      one.deactivatesAt ?? '-',
      one.fingerprint,
    ]),
  );
}

/** `validity 90d, recovery replica`: names without their unit, seconds as people write them. */
export function formatPolicy(policy: Readonly<Record<string, unknown>>): string {
  return Object.entries(policy)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) =>
      name.endsWith('Seconds') && typeof value === 'number'
        ? `${words(name.slice(0, -'Seconds'.length))} ${formatDuration(value)}`
        : `${words(name)} ${Array.isArray(value) ? value.join(' ') : String(value)}`,
    )
    .join(', ');
}

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function dueOf(key: KeyView): string {
  return key.destroyAt ?? key.rotationDueAt ?? '-';
}
