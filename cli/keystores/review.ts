/** Who has access to a keystore: looked at, and vouched for. */
import type { KeystoreAccess, KeystoreReview } from '../../api/routes/keystores.ts';
import type { Tools } from '../act.ts';
import { parseWhole } from '../arguments.ts';
import { confirmByName } from '../confirm.ts';

const reviewDaysMax = 366;

export interface ReviewOptions {
  readonly note?: string;
  readonly yes?: boolean;
  readonly look?: boolean;
}

/** Shows who may do what, asks, and sends the digest of what was shown. */
export async function reviewKeystore(
  tools: Tools,
  options: ReviewOptions,
  name: string,
): Promise<void> {
  const client = tools.client();
  const params = { keystore: name };
  const access = await client.call('keystore.access', { params });
  if (options.look === true) tools.output.data(access);
  printAccess(tools, access);
  if (options.look === true) return;
  if (options.yes !== true) {
    await confirmByName(
      tools.context,
      name,
      `Who is listed has access to ${name}. Going on says that this is as it should be.`,
    );
  }
  const { note } = options;
  const body = { digest: access.digest, ...(note === undefined ? {} : { note }) };
  const answer = await client.call('keystore.review', { params, body });
  tools.output.data(answer);
  const { dueAt } = answer.review;
  tools.output.note(`reviewed ${name}${dueAt === null ? '' : `; the next review is due ${dueAt}`}`);
}

export interface UpdateOptions {
  readonly reviewEveryDays: string;
}

export async function updateKeystore(
  tools: Tools,
  options: UpdateOptions,
  name: string,
): Promise<void> {
  const changed = await tools.client().call('keystore.update', {
    params: { keystore: name },
    body: { reviewEveryDays: parseInterval(options.reviewEveryDays) },
  });
  tools.output.data(changed);
  const { review } = changed;
  const every = review?.everyDays ?? null;
  tools.output.note(
    every === null
      ? `no review of ${name} is demanded`
      : `${name} is reviewed every ${every} days: ${dueText(review)}`,
  );
}

/** Days, or `none`. */
export function parseInterval(text: string): number | null {
  return text === 'none' ? null : parseDays(text);
}

/** The option of a keystore that is made. */
export function parseDays(text: string): number {
  return parseWhole(text, '--review-every-days', 1, reviewDaysMax);
}

/** By when the next review is due. */
export function dueText(review: KeystoreReview | null): string | undefined {
  if (review === null || review.dueAt === null) return undefined;
  return review.isOverdue ? `overdue since ${review.dueAt}` : `due ${review.dueAt}`;
}

/** When it was last reviewed, and by whom. */
export function lastReviewText(review: KeystoreReview | null): string | undefined {
  if (review === null || review.lastAt === null) return undefined;
  return `${review.lastAt} by ${review.lastBy ?? 'nobody known'}`;
}

/** In whole lines: a table is cut to the width of the terminal, and this is vouched for. */
function printAccess({ output }: Tools, access: KeystoreAccess): void {
  for (const { name, kind, roles, rights } of access.principals) {
    output.print(`${name} (${kind}): ${roles.length === 0 ? 'no roles' : roles.join(', ')}`);
    for (const { actions, folders } of rights) {
      output.print(`  ${foldersText(access.folders, folders)}: ${actions.join(', ')}`);
    }
  }
  output.note(`${access.keys} keys in ${access.keystore}`);
  if (!access.isComplete) {
    output.note('this is not all: there are more principals or keys than one list shows');
  }
}

function foldersText(all: readonly string[], some: readonly string[]): string {
  if (some.length === 0) return 'the service';
  if (some.length === all.length) return 'all folders';
  return `in ${some.map((folder) => (folder === '' ? '(top)' : folder)).join(', ')}`;
}
