/** Lists that come in pages. */
import { pageSizeMax } from '../api/fields.ts';
import { parseWhole } from './arguments.ts';
import type { Output } from './output.ts';

export interface PageOptions {
  readonly limit: string;
  readonly after?: string;
}

export interface Page<Item> {
  readonly items: Item[];
  readonly next: string | null;
}

export const listItemsMax = 100_000;

/** Asks for page after page up to the limit; says on standard error where more is to be had. */
export async function collectPages<Item>(
  output: Output,
  options: PageOptions,
  ask: (page: { limit: number; after: string | undefined }) => Promise<Page<Item>>,
): Promise<Page<Item>> {
  const limit = parseWhole(options.limit, '--limit', 1, listItemsMax);
  const items: Item[] = [];
  let after = options.after;
  for (;;) {
    const page = await ask({ limit: Math.min(limit - items.length, pageSizeMax), after });
    items.push(...page.items);
    if (page.next === null) return { items, next: null };
    if (items.length >= limit) {
      output.note(`there is more: --after ${page.next}`);
      return { items, next: page.next };
    }
    after = page.next;
  }
}
