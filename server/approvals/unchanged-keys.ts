import type { GatedCommand } from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';

/** Steps that fail a write unless the keys are those that approvers saw, at their revisions. */
export function unchangedKeys({ db, dialect }: Storage, command: GatedCommand): Step[] {
  const steps = new Map<string, Step>();
  for (const { resource } of [command, ...(command.also ?? [])]) {
    if (resource.type !== 'key' || resource.revision === undefined) continue;
    const select = db
      .selectFrom('key')
      .select('id')
      .where('id', '=', resource.id)
      .where('revision', '=', resource.revision);
    steps.set(resource.id, {
      query: (dialect === 'sqlite' ? select : select.forShare()).compile(),
      expect: {
        rows: 1,
        code: 'approval-mismatch',
        message: `The key ${resource.name} was changed since this was approved.`,
        hint: 'Repeat the request: it is asked for as the key is now.',
      },
    });
  }
  return [...steps.values()];
}
