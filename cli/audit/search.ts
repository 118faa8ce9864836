import type { Tools } from '../act.ts';
import { parseWhole } from '../arguments.ts';
import { parseTime } from '../durations.ts';
import { collectPages, type PageOptions } from '../pages.ts';

interface ListOptions extends PageOptions {
  readonly key?: string;
  readonly principal?: string;
  readonly action?: string;
  readonly outcome?: string;
  readonly correlationId?: string;
  readonly since?: string;
  readonly until?: string;
}

export async function listEntries(tools: Tools, options: ListOptions): Promise<void> {
  const client = tools.client();
  const now = tools.context.clock.now();
  const time = (text: string | undefined) =>
    text === undefined ? undefined : parseTime(text, now, 'before');
  const { key, principal, action, outcome, correlationId } = options;
  const filter = { key, principal, action, outcome, correlationId };
  const times = { since: time(options.since), until: time(options.until) };
  const list = await collectPages(tools.output, options, (page) =>
    client.call('audit.list', { query: { ...page, ...filter, ...times } }),
  );
  tools.output.data(list);
  const text = (value: unknown) => (value === undefined || value === null ? '-' : String(value));
  tools.output.table(
    ['PLACE', 'TIME', 'WHO', 'KIND', 'ACTION', 'KEY', 'OUTCOME'],
    list.items.map((entry) => [
      text(entry.place),
      text(entry.time),
      text(entry.principalName),
      text(entry.kind),
      text(entry.action),
      entry.keyVersion === undefined || entry.keyVersion === '0'
        ? text(entry.keyName)
        : `${text(entry.keyName)}@${entry.keyVersion}`,
      text(entry.outcome),
    ]),
  );
}

export async function showEntry(tools: Tools, _options: unknown, placeText: string): Promise<void> {
  const place = parseWhole(placeText, 'the place', 0, Number.MAX_SAFE_INTEGER);
  const answer = await tools.client().call('audit.entry', { params: { place } });
  tools.output.data(answer);
  tools.output.details([
    ...Object.entries(answer.entry).map(
      ([name, value]) => [name, value === null ? undefined : String(value)] as const,
    ),
    ['leaf', answer.leaf],
    ['proof', answer.proof.length === 0 ? undefined : answer.proof.join(' ')],
    ['tree size', String(answer.size)],
  ]);
  tools.output.print('');
  tools.output.print(answer.checkpoint.trimEnd().split('\n').join(' / '));
}
