import type { KeystoreReview } from '../../api/routes/keystores.ts';
import { formatTime } from '../base/clock.ts';
import { isReviewOverdue, type ReviewFacts, reviewDueAt } from '../keystores/keystores.ts';

/** When a review is due, for people. */
export function reviewView(facts: ReviewFacts, now: number): KeystoreReview {
  const dueAt = reviewDueAt(facts);
  return {
    everyDays: facts.everyDays,
    dueAt: dueAt === null ? null : formatTime(dueAt),
    isOverdue: isReviewOverdue(facts, now),
    lastAt: facts.reviewedAt === null ? null : formatTime(facts.reviewedAt),
    lastBy: facts.reviewedBy,
  };
}
