import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { recordEvent } from './events.ts';
import { type ExportFile, type ExportOptions, exportRecord } from './export.ts';
import type { VerifyResult } from './findings.ts';
import { encodeEntry } from './leaf.ts';
import { makeLog, readVerifiers } from './log-key.ts';
import { openCheckpoint, type TreeHead } from './note.ts';
import { emptyEdge } from './placement.ts';
import { TreeProver } from './proofs.ts';
import { Publisher, readLatest } from './publish.ts';
import type {
  AuditHealth,
  AuditOptions,
  AuditRecord,
  EntryProof,
  ServedResource,
} from './record.ts';
import { readEdge, readLeaves, readTile, readTree, type TreeRow } from './record-store.ts';
import { type Retained, retain } from './retention.ts';
import { fieldValues, type SearchQuery, type SearchResult, searchRecord } from './search.ts';
import { endLeaseStep, Sequencer } from './sequencer.ts';
import { databaseSource } from './sources.ts';
import { parseResource, splitLeaves, tileWidth, widthInTree } from './tiles.ts';
import { type VerifyLiveOptions, verifyLive } from './verify-live.ts';

const searchWaitMilliseconds = 1000;

/** The record over a live database: puts the parts of this folder together. */
export class LiveRecord implements AuditRecord {
  readonly #options: AuditOptions;
  readonly #sequencer: Sequencer;
  readonly #publisher: Publisher | undefined;
  readonly #faults = new Map<AuditHealth['problems'][number]['code'], string>();

  constructor(options: AuditOptions) {
    this.#options = options;
    const { storage, clock, sealer, holder, checkpointFolder } = options;
    const onRun = (error: unknown) => this.#note('sequencer', error);
    this.#sequencer = new Sequencer({ storage, clock, sealer, holder, onRun });
    if (checkpointFolder === undefined) return;
    this.#publisher = new Publisher({
      folder: checkpointFolder,
      clock,
      current: () => this.#current(),
      onRun: (error) => this.#note('checkpoint-folder', error),
    });
  }

  async start(): Promise<void> {
    const tree = await readTree(this.#options.storage.db);
    if (tree === undefined) await this.#begin();
    else await this.#checkPublished(tree.origin);
    this.#sequencer.start();
    this.#publisher?.start();
  }

  async stop(): Promise<void> {
    await this.sequenceNow().catch((error) => this.#note('sequencer', error));
    await this.#sequencer.stop();
    await this.#publisher?.stop();
  }

  async continueLog(): Promise<void> {
    const { storage, sealer, clock, installationId } = this.#options;
    const { db } = storage;
    const tree = await this.#tree();
    const verifiers = await readVerifiers(db);
    const head = openCheckpoint(tree.checkpoint, verifiers);
    const edge = await readEdge(db, tree.size);
    if (!edge.frontier.root().equals(head.root)) throw notSigned();
    const published = await this.#latest(tree.origin);
    const lost = Math.max(0, (published?.size ?? 0) - tree.size);
    const { log, step } = await makeLog(db, sealer, {
      installationId,
      number: verifiers.length + 1,
      now: clock.now(),
      predecessor: { note: tree.checkpoint, head },
    });
    const { origin, size, root } = head;
    const detail = { origin, size, root: root.toString('base64'), lost };
    const entry = encodeEntry(recordEvent('log.continued', detail, clock));
    await this.#sequencer.placeFirst(log, tree, edge, entry, [step, endLeaseStep(db)]);
  }

  async checkpoint(): Promise<string> {
    return (await this.#tree()).checkpoint;
  }

  async keyLines(): Promise<string[]> {
    const verifiers = await readVerifiers(this.#options.storage.db);
    return verifiers.map((verifier) => verifier.line);
  }

  sequenceNow(): Promise<number> {
    return this.#sequencer.sequenceNow();
  }

  async publishNow(): Promise<void> {
    await this.#publisher?.publish();
  }

  async search(query: SearchQuery): Promise<SearchResult> {
    if (query.after === undefined) {
      // Where the record cannot be written it can still be read: without waiting any longer.
      const sequenced = this.sequenceNow().catch(() => 0);
      await Promise.race([sequenced, pause(searchWaitMilliseconds)]);
    }
    return searchRecord(this.#options.storage.db, query);
  }

  async entry(place: number): Promise<EntryProof> {
    const { db } = this.#options.storage;
    const { size, checkpoint } = await this.#tree();
    if (!Number.isSafeInteger(place) || place < 0 || place >= size) {
      throw new KeyreeveError('not-found', `The record has no entry at place ${place}.`, {
        hint: `It has ${size} entries; the first is at place 0.`,
      });
    }
    const number = Math.floor(place / tileWidth);
    const width = widthInTree(0, number, size);
    const bundle = await readLeaves(db, number, width);
    const leaf = bundle && splitLeaves(bundle)[place % tileWidth];
    if (leaf === undefined) throw notSigned();
    const openings = await databaseSource(db, this.#options.archives).openings(number, width);
    const opening = openings?.[place % tileWidth];
    if (opening !== undefined && 'problem' in opening) throw notSigned();
    const fields = opening === undefined ? null : fieldValues(opening);
    const names = Object.keys(fields ?? {});
    return {
      place,
      fields,
      salts: Object.fromEntries(
        names.map((name, index) => [name, opening![index]!.salt.toString('hex')]),
      ),
      leaf,
      proof: await this.inclusionProof(place, size),
      checkpoint,
    };
  }

  inclusionProof(index: number, size: number): Promise<Buffer[]> {
    return this.#prove((prover) => prover.inclusion(index, size));
  }

  consistencyProof(oldSize: number, newSize: number): Promise<Buffer[]> {
    return this.#prove((prover) => prover.consistency(oldSize, newSize));
  }

  async resource(path: string): Promise<ServedResource | undefined> {
    const { db } = this.#options.storage;
    const resource = parseResource(path);
    if (resource === undefined) return undefined;
    const tree = await this.#tree();
    if (resource.kind === 'checkpoint') {
      const bytes = Buffer.from(tree.checkpoint, 'utf8');
      return { bytes, contentType: 'text/plain; charset=utf-8', immutable: false };
    }
    const { number, width } = resource;
    const level = resource.kind === 'tile' ? resource.level : 0;
    if (width > widthInTree(level, number, tree.size)) return undefined;
    const bytes =
      resource.kind === 'tile'
        ? await readTile(db, level, number, width)
        : await readLeaves(db, number, width);
    return bytes && { bytes, contentType: 'application/octet-stream', immutable: true };
  }

  export(options: ExportOptions = {}): AsyncGenerator<ExportFile> {
    const archives = options.archives ?? this.#options.archives ?? [];
    return exportRecord(this.#options.storage.db, { ...options, archives });
  }

  async verify(
    options: Pick<VerifyLiveOptions, 'checkpoint' | 'logKey' | 'progress'> = {},
  ): Promise<VerifyResult> {
    // What cannot be placed because the tree is damaged must not keep the damage from being found.
    await this.sequenceNow().catch((error) => this.#note('sequencer', error));
    const { storage, checkpointFolder, archives } = this.#options;
    return verifyLive(storage.db, {
      ...options,
      ...(checkpointFolder !== undefined && { checkpointFolder }),
      ...(archives !== undefined && { archives }),
    });
  }

  retain(before: number, archive: string): Promise<Retained> {
    return retain(this.#options.storage, this.#options.clock, before, archive);
  }

  health(): AuditHealth {
    return { problems: [...this.#faults].map(([code, message]) => ({ code, message })) };
  }

  get publishedAt(): number | undefined {
    return this.#publisher?.publishedAt;
  }

  async #begin(): Promise<void> {
    const { storage, sealer, clock, installationId } = this.#options;
    const now = clock.now();
    const { log, step } = await makeLog(storage.db, sealer, { installationId, number: 1, now });
    const detail = { origin: log.origin, key: log.signer.verifier.line };
    const entry = encodeEntry(recordEvent('log.started', detail, clock));
    try {
      await this.#sequencer.placeFirst(log, undefined, emptyEdge(), entry, [step]);
    } catch (error) {
      // Another process began it at the same time: its log is as good.
      if (!isKeyreeveError(error, 'conflict')) throw error;
    }
  }

  /** A database older than its own checkpoint would sign a second history under the same name. */
  async #checkPublished(origin: string): Promise<void> {
    const latest = await this.#latest(origin);
    if (latest === undefined) return;
    // Read after the checkpoint: other nodes publish to the same folder, and the record grows.
    const tree = await this.#tree();
    if (latest.size <= tree.size) {
      const root = await this.#prove((prover) => prover.root(latest.size));
      if (root.equals(latest.root)) return;
    }
    throw new KeyreeveError(
      'record-corrupt',
      `The record has ${tree.size} entries, but a published checkpoint is of ${latest.size} and does not fit.`,
      { hint: 'Was an old copy of the data put back? Restore it with `keyreeve backup restore`.' },
    );
  }

  /** The newest published checkpoint; a folder that fails is a matter of health. */
  async #latest(origin: string): Promise<TreeHead | undefined> {
    const { checkpointFolder, storage } = this.#options;
    if (checkpointFolder === undefined) return undefined;
    try {
      const latest = await readLatest(checkpointFolder, origin);
      return latest && openCheckpoint(latest.note, await readVerifiers(storage.db));
    } catch (error) {
      this.#note('checkpoint-folder', error);
      return undefined;
    }
  }

  async #current() {
    const { origin, size, checkpoint: note } = await this.#tree();
    const verifiers = await readVerifiers(this.#options.storage.db);
    const verifierLine = verifiers.find((verifier) => verifier.name === origin)?.line ?? '';
    return { origin, size, note, verifierLine };
  }

  async #prove<Result>(use: (prover: TreeProver) => Promise<Result>): Promise<Result> {
    const { db } = this.#options.storage;
    const { size } = await this.#tree();
    const read = (level: number, number: number, width: number) =>
      readTile(db, level, number, width);
    return use(new TreeProver(size, read));
  }

  async #tree(): Promise<TreeRow> {
    const tree = await readTree(this.#options.storage.db);
    if (tree === undefined) throw new KeyreeveError('not-found', 'The record was not begun.');
    return tree;
  }

  #note(code: AuditHealth['problems'][number]['code'], error: unknown): void {
    if (error === undefined) this.#faults.delete(code);
    else this.#faults.set(code, error instanceof Error ? error.message : String(error));
  }
}

function notSigned(): KeyreeveError {
  return new KeyreeveError('record-corrupt', 'The record is not the one that was signed last.', {
    hint: 'Run `keyreeve audit verify` to see what is damaged.',
  });
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
