import type { KeystoreShowView } from '../../api/routes/keystores.ts';
import type { Authorise } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import {
  isReviewOverdue,
  readReviews,
  reviewDueAt,
  reviewOverdue,
} from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';
import { listAccess, type Rights } from './access-list.ts';
import { changeReviewInterval, reviewKeystore } from './keystore-rows.ts';
import { reviewView } from './review-view.ts';

export interface ReviewCommandsOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly rights: Rights;
  /** Refuses a name that is no keystore that was added. Errors: `not-found`, `invalid-request`. */
  requireAdded(name: string): Promise<void>;
  show(name: string): Promise<KeystoreShowView>;
}

type ReviewRoutes = 'keystore.update' | 'keystore.access' | 'keystore.review';

const system = { type: 'system' } as const;

/**
 * Who has access to what lies in a keystore is reviewed every so many days (the key management
 * document of code signing, section 1: `HSMAccessReviewFrequency`).
 */
export function createReviewHandlers(
  options: ReviewCommandsOptions,
  commands: Commands,
): Handlers<ReviewRoutes> {
  return {
    'keystore.update': (call) => changeInterval(options, commands, call),
    'keystore.access': async ({ caller, params }) => {
      options.authorise(caller, 'keystore.review', system);
      return accessTo(options, params.keystore);
    },
    'keystore.review': (call) => review(options, commands, call),
  };
}

async function accessTo({ storage, rights, requireAdded }: ReviewCommandsOptions, name: string) {
  await requireAdded(name);
  return listAccess(storage, rights, name, await readReviews(storage));
}

function review(
  options: ReviewCommandsOptions,
  commands: Commands,
  { caller, params, body, idempotencyKey }: Call<'keystore.review'>,
) {
  const { storage, clock } = options;
  const name = params.keystore;
  return commands.run(caller, {
    ...{ action: 'keystore.review', resource: system, about: { resource: name } },
    ...{ input: { review: name, ...body }, idempotencyKey, raisesEpoch: false },
    act: async () => {
      const access = await accessTo(options, name);
      if (access.digest !== body.digest) {
        throw new KeyreeveError(
          'conflict',
          `Who has access to "${name}" is not what was looked at: it changed meanwhile.`,
          { hint: `Look again: keyreeve keystore review ${name}` },
        );
      }
      const before = (await readReviews(storage)).get(name)!;
      const now = clock.now();
      const facts = { ...before, reviewedAt: now, reviewedBy: caller.principalName };
      const result = { review: reviewView(facts, now), access };
      const detail = canonicalJson({
        ...{ note: body.note ?? null, digest: body.digest, keys: access.keys },
        ...{ principals: access.principals.length, isComplete: access.isComplete },
        ...{ dueAt: result.review.dueAt, wasOverdue: isReviewOverdue(before, now) },
      });
      return {
        result,
        steps: [reviewKeystore(storage, name, { now, principalId: caller.principalId })],
        about: { resource: name, detail },
      };
    },
  });
}

async function changeInterval(
  options: ReviewCommandsOptions,
  commands: Commands,
  { caller, params, body, idempotencyKey }: Call<'keystore.update'>,
): Promise<KeystoreShowView> {
  const { storage, clock } = options;
  const name = params.keystore;
  const everyDays = body.reviewEveryDays;
  return commands.run(caller, {
    ...{ action: 'keystore.update', resource: system, about: { resource: name } },
    ...{ input: { update: name, ...body }, idempotencyKey, raisesEpoch: false },
    act: async () => {
      await options.requireAdded(name);
      const now = clock.now();
      const before = (await readReviews(storage)).get(name);
      if (before === undefined) throw goneMeanwhile(name);
      // Else whoever is to be reviewed would put it off instead.
      if (isLessOften(before.everyDays, everyDays) && isReviewOverdue(before, now)) {
        throw reviewOverdue({ keystore: name, dueAt: reviewDueAt(before)! });
      }
      const step = await changeReviewInterval(storage, name, everyDays);
      const shown = await options.show(name);
      return {
        result: { ...shown, review: reviewView({ ...before, everyDays }, now) },
        steps: [step],
        about: {
          resource: name,
          detail: canonicalJson({ reviewEveryDays: everyDays, before: before.everyDays }),
        },
      };
    },
  });
}

function isLessOften(before: number | null, after: number | null): boolean {
  return before !== null && (after === null || after > before);
}

function goneMeanwhile(name: string): KeyreeveError {
  return new KeyreeveError('not-found', `The keystore "${name}" was removed meanwhile.`);
}
