import type { Tools } from '../act.ts';
import { parseTime } from '../durations.ts';

export async function retainFields(tools: Tools, options: { before: string }): Promise<void> {
  const { context, output } = tools;
  const before = parseTime(options.before, context.clock.now(), 'before');
  const answer = await tools.client().call('audit.retain', { body: { before } });
  output.data(answer);
  output.note(
    answer.entries === 0
      ? 'nothing to move: whole bundles of entries are moved, and none is that old'
      : `moved the fields of ${answer.entries} entries to ${answer.folder}, on the host of the service`,
  );
}
