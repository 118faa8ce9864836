import type { KeystoreReview, KeystoreShowView, KeystoreView } from '../../api/routes/keystores.ts';
import { formatTime } from '../base/clock.ts';
import {
  healthWithin,
  type Keystore,
  type KeystoreDescription,
  KeystoreGroup,
  type KeystoreHealth,
  type Pkcs11Keystore,
  type ReviewFacts,
  readReviews,
} from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';
import { countKeys, versionsIn } from './keystore-rows.ts';
import type { LiveKeystore } from './registry.ts';
import { reviewView } from './review-view.ts';

/** A keystore that does not tell in time is shown without what it would have told. */
const answerMilliseconds = 3000;

/** What a list shows of each. */
export async function listViews(
  storage: Storage,
  builtIn: readonly Keystore[],
  live: readonly LiveKeystore[],
  now: number,
  healthOf: (keystore: Keystore) => Promise<KeystoreHealth>,
): Promise<KeystoreView[]> {
  const [counts, reviews] = await Promise.all([countKeys(storage), readReviews(storage)]);
  return Promise.all([
    ...builtIn.map(async (keystore) =>
      builtInView(keystore, await healthOf(keystore), counts.get(keystore.name) ?? 0),
    ),
    ...live.map(async (one) =>
      liveView(one, await healthOf(one.keystore), {
        keys: counts.get(one.record.name) ?? 0,
        review: reviewOf(reviews, one, now),
      }),
    ),
  ]);
}

/** All that there is to say of one that was added. */
export async function showLive(
  storage: Storage,
  live: LiveKeystore,
  now: number,
): Promise<KeystoreShowView> {
  const { record, keystore } = live;
  const health = await healthWithin(keystore, answerMilliseconds);
  const [counts, reviews] = await Promise.all([countKeys(storage), readReviews(storage)]);
  const group = keystore instanceof KeystoreGroup ? keystore : undefined;
  const [description, abilities, unmirrored] = await Promise.all([
    inTime(() => keystore.describe(), health),
    inTime(() => tokenOf(keystore).abilities(), health),
    group && inTime(() => unmirroredOf(storage, group), health),
  ]);
  return {
    ...liveView(live, health, {
      keys: counts.get(record.name) ?? 0,
      review: reviewOf(reviews, live, now),
    }),
    ...described(description),
    abilities: abilities?.map((one) => ({ ...one, schemes: [...one.schemes] })) ?? null,
    figures: group === undefined ? figuresOf(tokenOf(keystore)) : null,
    unmirrored: unmirrored ?? null,
    failovers: group?.counts.failovers ?? 0,
    switchedAt: group?.counts.switchedAt === undefined ? null : formatTime(group.counts.switchedAt),
    lastDrill: record.lastDrill,
  };
}

/** The same for one of the configuration. */
export async function showBuiltIn(storage: Storage, keystore: Keystore): Promise<KeystoreShowView> {
  const health = await healthWithin(keystore, answerMilliseconds);
  const counts = await countKeys(storage);
  return {
    ...builtInView(keystore, health, counts.get(keystore.name) ?? 0),
    ...described(await inTime(() => keystore.describe(), health)),
    ...{ abilities: null, figures: null, unmirrored: null },
    ...{ failovers: 0, switchedAt: null, lastDrill: null },
  };
}

function builtInView(keystore: Keystore, health: KeystoreHealth, keys: number): KeystoreView {
  return {
    ...{ name: keystore.name, kind: keystore.kind, isBuiltIn: true, uri: null },
    ...{ environment: {}, declaredAssurance: null, group: null },
    ...{ ready: health.ready, reason: health.reason ?? null, keys },
    ...{ review: null, createdAt: null, revision: 0 },
  };
}

function liveView(
  { record, keystore }: LiveKeystore,
  health: KeystoreHealth,
  { keys, review }: Pick<KeystoreView, 'keys' | 'review'>,
): KeystoreView {
  const isGroup = record.kind === 'group';
  return {
    ...{ name: record.name, kind: record.kind, isBuiltIn: false },
    uri: isGroup ? null : record.uri,
    environment: isGroup ? {} : record.environment,
    declaredAssurance: isGroup ? null : (record.assurance ?? null),
    group:
      keystore instanceof KeystoreGroup && isGroup
        ? {
            ...{ primary: record.primary, secondary: record.secondary },
            ...{ deadlineSeconds: record.deadlineSeconds, active: keystore.active },
          }
        : null,
    ...{ ready: health.ready, reason: health.reason ?? null, keys },
    ...{ review, createdAt: formatTime(record.createdAt), revision: record.revision },
  };
}

/** Of one that is about to be added, its record tells. */
function reviewOf(
  reviews: ReadonlyMap<string, ReviewFacts>,
  { record }: LiveKeystore,
  now: number,
): KeystoreReview {
  const facts = reviews.get(record.name) ?? {
    ...{ everyDays: record.reviewEveryDays ?? null, addedAt: record.createdAt },
    ...{ reviewedAt: null, reviewedBy: null, members: [], tokenId: null },
  };
  return reviewView(facts, now);
}

function described(description: KeystoreDescription | undefined) {
  return {
    assurance: description?.assurance ?? null,
    assuranceFrom: description?.assuranceFrom ?? null,
    device: description?.device ?? null,
  };
}

function figuresOf(keystore: Pkcs11Keystore): NonNullable<KeystoreShowView['figures']> {
  const { sessions, restarts, waiting, calls, ...times } = keystore.metrics();
  return {
    ...{ sessions, restarts, waiting, calls },
    medianMilliseconds: times.medianMilliseconds ?? null,
    slowMilliseconds: times.slowMilliseconds ?? null,
  };
}

/** The token of a keystore; of a group, the one that it makes keys in. */
function tokenOf(keystore: LiveKeystore['keystore']): Pkcs11Keystore {
  return keystore instanceof KeystoreGroup ? keystore.members.primary : keystore;
}

async function unmirroredOf(storage: Storage, group: KeystoreGroup) {
  const versions = await versionsIn(storage, group.name);
  const found = await group.unmirrored(versions.map(({ uri }) => uri));
  return versions.flatMap(({ key, version, uri }) => {
    const role = found.get(uri);
    if (role === undefined) return [];
    return [{ key, version, only: role === null ? null : group.members[role].name }];
  });
}

/** What it tells, if it does so in time; who is known to be away is not asked. */
async function inTime<Result>(
  ask: () => Promise<Result>,
  health: KeystoreHealth,
): Promise<Result | undefined> {
  if (!health.ready) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), answerMilliseconds);
  });
  try {
    return await Promise.race([ask().catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}
