import { formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Storage } from '../storage/storage.ts';

const dayMilliseconds = 86_400_000;

/** When it was last reviewed who has access to a keystore, and how often that is to be. */
export interface ReviewFacts {
  /** Null: at no fixed times. */
  readonly everyDays: number | null;
  /** What counts before the first review. */
  readonly addedAt: number;
  readonly reviewedAt: number | null;
  /** The name of who reviewed it. */
  readonly reviewedBy: string | null;
  /** The keystores that a group is made of. */
  readonly members: readonly string[];
  /** What tells its token from all others, where that is known. */
  readonly tokenId: string | null;
}

/** When the next review is due; null where none is demanded. */
export function reviewDueAt(facts: ReviewFacts): number | null {
  if (facts.everyDays === null) return null;
  return (facts.reviewedAt ?? facts.addedAt) + facts.everyDays * dayMilliseconds;
}

/** Overdue is what is more than the interval ago: to the millisecond, it is not yet. */
export function isReviewOverdue(facts: ReviewFacts, now: number): boolean {
  const dueAt = reviewDueAt(facts);
  return dueAt !== null && now > dueAt;
}

/** The facts of every keystore that was added by command, as they are stored. */
export async function readReviews(storage: Storage): Promise<ReadonlyMap<string, ReviewFacts>> {
  const rows = await storage.db
    .selectFrom('keystore')
    .leftJoin('principal', 'principal.id', 'keystore.reviewed_by')
    .select([
      'keystore.name',
      'keystore.settings_json',
      'keystore.created_at',
      'keystore.reviewed_at',
      'keystore.reviewed_by',
      'principal.name as reviewer',
    ])
    .execute();
  return new Map(
    rows.map((row) => {
      const settings: Settings = JSON.parse(row.settings_json);
      const facts: ReviewFacts = {
        everyDays: settings.reviewEveryDays ?? null,
        addedAt: row.created_at,
        reviewedAt: row.reviewed_at,
        reviewedBy: row.reviewer ?? row.reviewed_by,
        members: [settings.primary, settings.secondary].filter((name) => name !== undefined),
        tokenId: settings.tokenId ?? null,
      };
      return [row.name, facts];
    }),
  );
}

interface Settings {
  readonly reviewEveryDays?: number;
  readonly primary?: string;
  readonly secondary?: string;
  readonly tokenId?: string;
}

/**
 * The keystore whose review stands in the way of making, destroying and exporting keys in this one:
 * itself, a member of the group that it is, or another keystore of the same token. Undefined where
 * none does.
 */
export function overdueReview(
  reviews: ReadonlyMap<string, ReviewFacts>,
  keystore: string,
  now: number,
): { readonly keystore: string; readonly dueAt: number } | undefined {
  const names = [keystore, ...(reviews.get(keystore)?.members ?? [])];
  const tokens = names.map((name) => reviews.get(name)?.tokenId ?? null);
  for (const [name, facts] of reviews) {
    // A second name for the token is no way around its review.
    const isMeant =
      names.includes(name) || (facts.tokenId !== null && tokens.includes(facts.tokenId));
    if (!isMeant || !isReviewOverdue(facts, now)) continue;
    return { keystore: name, dueAt: reviewDueAt(facts)! };
  }
  return undefined;
}

/**
 * Refuses to go on in a keystore whose access review is overdue. Read from the database each time: a
 * review on another node counts at once. Error: `review-overdue`.
 */
export async function requireReviewed(
  storage: Storage,
  keystore: string,
  now: number,
): Promise<void> {
  const overdue = overdueReview(await readReviews(storage), keystore, now);
  if (overdue !== undefined) throw reviewOverdue(overdue);
}

export function reviewOverdue({
  keystore,
  dueAt,
}: {
  readonly keystore: string;
  readonly dueAt: number;
}): KeyreeveError {
  return new KeyreeveError(
    'review-overdue',
    `Who has access to the keystore "${keystore}" was to be reviewed by ${formatTime(dueAt)}: until it is, keys there are neither made nor destroyed nor exported.`,
    {
      hint: `Review it: keyreeve keystore review ${keystore}`,
      data: { keystore, dueAt: formatTime(dueAt) },
    },
  );
}
