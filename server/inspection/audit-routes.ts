import { pack } from 'tar-stream';
import { type EntryField, entryFields } from '../../api/entry.ts';
import type { auditRoutes } from '../../api/routes/audit.ts';
import type { AuditRecord, ExportFile, RecordEntry } from '../audit/audit.ts';
import type { Authorise } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';

export interface AuditRoutesOptions {
  readonly record: AuditRecord;
  readonly commands: Commands;
  readonly authorise: Authorise;
  /** The id of a key by id or name; undefined where there is none. */
  readonly keyId: (reference: string) => Promise<string | undefined>;
  readonly principalId: (reference: string) => Promise<string>;
  /** Where the fields of old entries go. */
  readonly archiveFolder: string;
}

const system = { type: 'system' } as const;

/** The routes of the record: search, proofs, export, verification, retention. */
export function createAuditHandlers(
  options: AuditRoutesOptions,
): Handlers<keyof typeof auditRoutes> {
  const { record, commands, authorise } = options;
  return {
    'audit.list': async ({ caller, query }) => {
      authorise(caller, 'audit.read', system);
      const { key, principal, since, until, after, limit, correlationId, action, outcome } = query;
      const found = await record.search({
        limit,
        ...(correlationId === undefined ? {} : { correlationId }),
        ...(action === undefined ? {} : { action }),
        ...(outcome === undefined ? {} : { outcome }),
        ...(after === undefined ? {} : { after }),
        ...(since === undefined ? {} : { since: Date.parse(since) }),
        ...(until === undefined ? {} : { until: Date.parse(until) }),
        ...(key === undefined ? {} : await keyCondition(options, key)),
        ...(principal === undefined ? {} : { principalId: await options.principalId(principal) }),
      });
      return { items: found.entries.map(viewOf), next: found.next ?? null };
    },
    'audit.entry': async ({ caller, params }) => {
      authorise(caller, 'audit.read', system);
      const found = await record.entry(params.place);
      return {
        entry: viewOf({ place: found.place, fields: found.fields ?? {} }),
        leaf: found.leaf.toString('base64'),
        proof: found.proof.map((hash) => hash.toString('base64')),
        size: sizeOf(found.checkpoint),
        checkpoint: found.checkpoint,
      };
    },
    'audit.checkpoint': async () => ({
      checkpoint: await record.checkpoint(),
      logKey: (await record.keyLines()).join('\n'),
    }),
    'audit.export': async ({ caller, body }) => {
      const redact = requireFields(body.redact);
      // Without the idempotency key: each repetition is an export of its own, allowed and recorded.
      await commands.run(caller, {
        action: 'audit.export',
        resource: system,
        input: { redact },
        raisesEpoch: false,
        act: async () => ({
          result: null,
          steps: [],
          about: { detail: JSON.stringify({ redact }) },
        }),
      });
      await record.sequenceNow();
      return {
        contentType: 'application/x-tar',
        fileName: 'keyreeve-record.tar',
        body: tarOf(record.export({ redact })),
      };
    },
    'audit.verify': async ({ caller, body }) => {
      authorise(caller, 'audit.verify', system);
      const { checkpoint, logKey } = body;
      const result = await record.verify({
        ...(checkpoint === undefined ? {} : { checkpoint }),
        ...(logKey === undefined ? {} : { logKey }),
      });
      const newest = await record.checkpoint();
      return {
        ok: result.ok,
        origin: newest.slice(0, newest.indexOf('\n')),
        size: result.size,
        withoutOpening: result.withoutOpening,
        checkpoint: newest,
        logKey: (await record.keyLines()).join('\n'),
        problems: result.problems.map(({ id, ...problem }) => ({
          ...problem,
          ...(id === undefined ? {} : { entry: id }),
        })),
      };
    },
    'audit.retain': async ({ caller, body, idempotencyKey }) =>
      commands.run(caller, {
        action: 'audit.retain',
        resource: system,
        input: { ...body },
        idempotencyKey,
        raisesEpoch: false,
        act: async () => {
          const moved = await record.retain(Date.parse(body.before), options.archiveFolder);
          const result = {
            bundles: moved.bundles,
            entries: moved.entries,
            folder: options.archiveFolder,
          };
          return { result, steps: [], about: { detail: JSON.stringify(result) } };
        },
      }),
  };
}

// A key that is unknown by now may still be named in the record.
async function keyCondition(
  options: AuditRoutesOptions,
  key: string,
): Promise<{ keyId: string } | { keyName: string }> {
  const keyId = await options.keyId(key);
  return keyId === undefined ? { keyName: key } : { keyId };
}

function viewOf(entry: RecordEntry): {
  place: number | null;
  [field: string]: string | number | null;
} {
  // The key of a digest opens it to guesses: it is for whoever has to prove an input, not for lists.
  const { digestKey: _, ...fields } = entry.fields;
  return { place: entry.place, ...fields };
}

function sizeOf(checkpoint: string): number {
  return Number(checkpoint.split('\n', 2)[1]);
}

function requireFields(names: readonly string[]): EntryField[] {
  const wrong = names.find((name) => !Object.hasOwn(entryFields, name));
  if (wrong === undefined) return names as EntryField[];
  throw new KeyreeveError('invalid-request', `An entry has no field "${wrong}".`, {
    hint: `It has: ${Object.keys(entryFields).join(', ')}.`,
  });
}

/** Files as a tar, a few at a time. */
async function* tarOf(files: AsyncIterable<ExportFile>): AsyncGenerator<Uint8Array> {
  const archive = pack();
  const feeding = feed(archive, files).catch((error: Error) => archive.destroy(error));
  for await (const chunk of archive) yield chunk as Uint8Array;
  await feeding;
}

async function feed(
  archive: ReturnType<typeof pack>,
  files: AsyncIterable<ExportFile>,
): Promise<void> {
  for await (const { path, bytes } of files) {
    await new Promise<void>((resolve, reject) => {
      archive.entry({ name: path, mtime: new Date(0) }, Buffer.from(bytes), (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }
  archive.finalize();
}
