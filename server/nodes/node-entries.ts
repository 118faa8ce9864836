import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Storage } from '../storage/storage.ts';

/**
 * Puts on the record that a node joined, or is gone without having stopped. Apart from the
 * registry, which must work while nothing can be recorded; what cannot be written is left out.
 */
export async function tellOfNode(
  { storage, clock }: { readonly storage: Storage; readonly clock: Clock },
  action: 'node.joined' | 'node.gone',
  node: { readonly id: string; readonly name: string; readonly version: string },
): Promise<void> {
  const detail = canonicalJson({ id: node.id, version: node.version });
  const outcome = action === 'node.gone' ? 'unreachable' : 'ok';
  const entry = serviceEntry(clock, action, outcome, { resource: node.name, detail });
  await storage.commit({ steps: [], entries: [entry] }).catch(() => undefined);
}
