import { canonicalJson } from '../../base/canonical-json.ts';
import { formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Handlers } from '../../base/handler.ts';
import type { Schema, Step, Storage } from '../../storage/storage.ts';
import { decodePem, parseCertificate, requestFromText, spkiAlgorithm } from '../../x509/x509.ts';
import { sha256 } from '../certificate-record.ts';
import type { Context } from './context.ts';

const system = { type: 'system' } as const;
const digest = /^[0-9a-f]{64}$/i;

/** Puts a public key on the list of those that are refused; one that is there stays as it is. */
export function blockStep({ db }: Storage, row: Schema['blocked_key']): Step {
  return {
    query: db
      .insertInto('blocked_key')
      .values(row)
      .onConflict((conflict) => conflict.column('fingerprint').doNothing())
      .compile(),
  };
}

/** The routes of public keys that no certificate may be issued for. */
export function createBlockedKeys(
  context: Context,
): Handlers<'certificate.block-key' | 'certificate.blocked-keys' | 'certificate.unblock-key'> {
  const { storage, keys, clock, commands } = context;
  return {
    'certificate.block-key': async ({ caller, body, idempotencyKey }) => {
      const { reason } = body;
      const fingerprint = await commands.prepare(caller, 'certificate.block-key', async () => {
        keys.authorise(caller, 'certificate.block-key', system);
        return digestOf(body.key);
      });
      return commands.run(caller, {
        action: 'certificate.block-key',
        resource: system,
        about: { resource: `public key ${fingerprint}` },
        input: { fingerprint, reason },
        idempotencyKey,
        act: async () => {
          const now = clock.now();
          const certificates = await countLiving(storage, fingerprint, now);
          const row = { fingerprint, reason, created_at: now, created_by: caller.principalId };
          return {
            result: { fingerprint, reason, certificates },
            steps: [blockOrRenameStep(storage, row)],
            about: { detail: canonicalJson({ reason, certificates }) },
          };
        },
      });
    },
    'certificate.blocked-keys': async ({ caller, query }) => {
      keys.authorise(caller, 'certificate.show', system);
      const rows = await storage.db
        .selectFrom('blocked_key')
        .select(['fingerprint', 'reason', 'created_at'])
        .where('fingerprint', '>', query.after ?? '')
        .orderBy('fingerprint')
        .limit(query.limit)
        .execute();
      return {
        items: rows.map((row) => ({
          fingerprint: row.fingerprint,
          reason: row.reason,
          createdAt: formatTime(row.created_at),
        })),
        next: rows.length < query.limit ? null : rows.at(-1)!.fingerprint,
      };
    },
    'certificate.unblock-key': ({ caller, params: { fingerprint }, idempotencyKey }) =>
      commands.run(caller, {
        action: 'certificate.block-key',
        resource: system,
        about: { resource: `public key ${fingerprint}` },
        input: { fingerprint, blocked: false },
        idempotencyKey,
        act: async () => ({
          result: { fingerprint },
          steps: [unblockStep(storage, fingerprint)],
          about: { detail: canonicalJson({ blocked: false }) },
        }),
      }),
  };
}

function blockOrRenameStep({ db }: Storage, row: Schema['blocked_key']): Step {
  return {
    query: db
      .insertInto('blocked_key')
      .values(row)
      .onConflict((conflict) => conflict.column('fingerprint').doUpdateSet({ reason: row.reason }))
      .compile(),
  };
}

function unblockStep({ db }: Storage, fingerprint: string): Step {
  return {
    query: db.deleteFrom('blocked_key').where('fingerprint', '=', fingerprint).compile(),
    expect: {
      rows: 1,
      code: 'not-found',
      message: 'This public key is not blocked.',
      hint: 'What is blocked: keyreeve cert blocked-keys',
    },
  };
}

async function countLiving({ db }: Storage, fingerprint: string, now: number): Promise<number> {
  const row = await db
    .selectFrom('certificate')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .where('key_fingerprint', '=', fingerprint)
    .where('not_after', '>', now)
    .where((expression) =>
      expression.or([
        expression('revoked_at', 'is', null),
        expression('reason', '=', 'certificateHold'),
      ]),
    )
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

/** SHA-256 of the public key that is meant. Error: `invalid-request`, and those of the parsers. */
function digestOf(text: string): string {
  const trimmed = text.trim();
  if (digest.test(trimmed)) return trimmed.toLowerCase();
  const label = /-----BEGIN ([A-Z ]+)-----/.exec(trimmed)?.[1];
  switch (label) {
    case 'PUBLIC KEY':
      return sha256(onePublicKey(trimmed));
    case 'CERTIFICATE':
      return sha256(parseCertificate(decodePem(trimmed, 'CERTIFICATE')[0]!).spki);
    case 'CERTIFICATE REQUEST':
    case 'NEW CERTIFICATE REQUEST':
      return sha256(requestFromText(trimmed).spki);
    default:
      throw new KeyreeveError('invalid-request', 'This is no public key that could be blocked.', {
        hint: 'Give its SHA-256 in hexadecimal, or PEM of a public key, a request or a certificate.',
      });
  }
}

/** In the one encoding that it has, so that it has one digest. */
function onePublicKey(pem: string): Buffer {
  const [spki] = decodePem(pem, 'PUBLIC KEY');
  spkiAlgorithm(spki!);
  return spki!;
}
