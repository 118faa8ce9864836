import type { ResponseOf } from '../../../api/route.ts';
import type { Routes } from '../../../api/routes.ts';
import type { Caller } from '../../base/caller.ts';
import { type Clock, formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Handlers, StreamAnswer } from '../../base/handler.ts';
import type { Commands } from '../../commands/commands.ts';
import { currentVersion, resourceOf } from '../../keys/keys.ts';
import type { Authorities } from '../authorities/authorities.ts';
import { type Authority, authorityVersion } from '../authority.ts';
import { gapLeft } from '../crl-due.ts';
import type { CrlPublisher, PreparedCrl } from './crl-publisher.ts';
import type { Crl } from './crl-store.ts';
import { isPending } from './crl-timing.ts';
import type { FreshCrls } from './fresh-crl.ts';
import type { PublicMaterial } from './public-material.ts';

/** A piece of an answer: as fast as the caller takes it. */
const pieceBytes = 256 * 1024;

export interface CrlRouteParts {
  readonly authorities: Pick<Authorities, 'find' | 'lookup'>;
  readonly publisher: CrlPublisher;
  readonly material: PublicMaterial;
  readonly fresh: FreshCrls;
  readonly commands: Commands;
  readonly clock: Clock;
}

/** `crl.get`, for anybody, and `crl.publish`, for operators. */
export function createCrlHandlers(parts: CrlRouteParts): Handlers<'crl.get' | 'crl.publish'> {
  return {
    'crl.get': async ({ params, query }) => {
      const authority = await parts.authorities.find(params.ca);
      if (authority === undefined) {
        throw new KeyreeveError('not-found', `There is no CA "${params.ca}".`);
      }
      const version = versionOf(parts, authority, query.version);
      const named = { caId: authority.key.id, version };
      const crl =
        query.fresh === 'true' && authority.state === 'active'
          ? await parts.fresh.wait(named)
          : await parts.material.crl(named);
      if (crl !== undefined) return answerOf(authority, crl);
      throw new KeyreeveError(
        'crl-unavailable',
        `${authority.key.name}@${version} has not published a CRL yet.`,
        { hint: 'The first one comes within seconds.', retryAfterSeconds: 2 },
      );
    },
    'crl.publish': async ({ caller, params, body, idempotencyKey }) => {
      const authority = await parts.commands.prepare(caller, 'crl.publish', () =>
        parts.authorities.lookup(caller, params.ca, 'crl.publish'),
      );
      return publish(parts, caller, authority, body.version, idempotencyKey);
    },
  };
}

type Published = ResponseOf<Routes['crl.publish']>;

/**
 * Publishes by command: once the five seconds since the CRL before are over. Asked within them
 * while nothing was revoked since, it answers with that CRL and makes no other.
 */
async function publish(
  parts: CrlRouteParts,
  caller: Caller,
  authority: Authority,
  asked: number | undefined,
  idempotencyKey: string | undefined,
): Promise<Published> {
  const { commands, publisher, clock } = parts;
  const { key } = authority;
  const version = asked ?? versionOf(parts, authority, undefined);
  const about = { keyId: key.id, keyName: key.name, keyVersion: String(version) };
  return publisher.exclusive({ caId: key.id, version }, async () => {
    let publication: PreparedCrl | undefined;
    const result = await commands.run<Published>(caller, {
      action: 'crl.publish',
      resource: resourceOf(key),
      about,
      input: { ca: key.id, version },
      idempotencyKey,
      raisesEpoch: false,
      act: async () => {
        if (authority.state === 'importing') {
          throw new KeyreeveError('ca-importing', `${key.name} is still being taken over.`, {
            hint: 'End the take-over first: until then it publishes nothing.',
          });
        }
        const { state } = await publisher.look(authority, version);
        const now = clock.now();
        const newest = await parts.material.crl({ caId: key.id, version }, state.number);
        const left = gapLeft(state, now);
        if (left > 0 && newest !== undefined && !isPending(state, now)) {
          return { result: viewOf(newest), steps: [] };
        }
        if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
        await publisher.whenFree({ caId: key.id, version });
        // Read again: the wait may have been long, and what came meanwhile is not to be lost.
        const current = (await parts.authorities.find(key.id)) ?? authority;
        const looked = await publisher.look(current, version);
        publication = await publisher.prepare(current, looked.own, looked.state);
        const { crl, steps } = publication;
        return { result: viewOf(crl), steps, about: { ...about, ...publication.about } };
      },
      undo: async () => publication?.abandon(),
    });
    if (publication !== undefined) publisher.published(publication);
    return result;
  });
}

/** The version asked for, or the one that issues, or the newest. Error: `not-found`. */
function versionOf(
  { clock }: CrlRouteParts,
  authority: Authority,
  asked: number | undefined,
): number {
  const current = currentVersion(authority.key, clock.now())?.version;
  const wanted = asked ?? current;
  const found = wanted === undefined ? undefined : authorityVersion(authority, wanted);
  if (found !== undefined) return found.version;
  const newest = authority.versions.at(-1);
  if (asked === undefined && newest !== undefined) return newest.version;
  throw new KeyreeveError(
    'not-found',
    `${authority.key.name} has no certificate${asked === undefined ? '' : ` for version ${asked}`}.`,
  );
}

function answerOf(authority: Authority, crl: Crl): StreamAnswer {
  return {
    contentType: 'application/pkix-crl',
    fileName: `${authority.key.name.replaceAll('/', '-')}-${crl.version}.crl`,
    body: piecesOf(crl.der),
    headers: {
      'Content-Length': String(crl.der.length),
      'Last-Modified': new Date(crl.thisUpdate).toUTCString(),
    },
  };
}

async function* piecesOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    yield bytes.subarray(start, start + pieceBytes);
  }
}

function viewOf(crl: Crl): Published {
  return {
    version: crl.version,
    number: crl.number,
    entries: crl.entries,
    thisUpdate: formatTime(crl.thisUpdate),
    nextUpdate: formatTime(crl.nextUpdate),
  };
}
