import type { Action } from '../../api/actions.ts';
import { nameLengthMax } from '../../api/fields.ts';
import type { Caller } from '../base/caller.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import type { Sealer } from '../commands/commands.ts';
import { type KeyRecord, resourceOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { keyNotFound } from './key-rules.ts';
import { listScanMax } from './key-store.ts';
import { viewOf } from './key-view.ts';
import { systemFolder } from './make-key.ts';

type ReadRoutes = 'key.list' | 'key.show' | 'key.public';

const scanPage = 200;

/** The routes that show keys. */
export function createKeyReads(keys: Keys): Handlers<ReadRoutes> {
  const lister = new KeyLister(keys);
  return {
    'key.list': async ({ caller, query }) => {
      const label = parseLabel(query.label);
      const page = await lister.page(caller, 'key.show', query, (key) => matches(key, label));
      const now = keys.clock.now();
      return { items: page.items.map((key) => viewOf(key, now)), next: page.next };
    },
    'key.show': async ({ caller, params }) => {
      const key = await keys.lookup(caller, params.key, 'key.show');
      keys.authorise(caller, 'key.show', resourceOf(key));
      return viewOf(key, keys.clock.now());
    },
    'key.public': async ({ params }) => {
      const key = await keys.store.find(params.key);
      // A secret key has nothing public, not even its existence.
      if (key === undefined || key.versions.every((version) => version.publicKey === null)) {
        throw keyNotFound(params.key);
      }
      const view = viewOf(key, keys.clock.now());
      return {
        id: view.id,
        name: view.name,
        purpose: view.purpose,
        schemes: view.schemes,
        currentVersion: view.currentVersion,
        versions: view.versions.map(({ version, algorithm, state, fingerprint, publicKey }) => ({
          version,
          algorithm,
          state,
          fingerprint,
          publicKey,
        })),
      };
    },
  };
}

export interface KeyPageQuery {
  readonly limit: number;
  readonly after?: string | undefined;
  readonly folder?: string | undefined;
  readonly purpose?: string | undefined;
}

/** Lists keys page by page, in the order of their names: those for which a caller has a right. */
export class KeyLister {
  readonly #keys: Keys;
  readonly #cursors: HiddenCursors;

  constructor(keys: Keys) {
    this.#keys = keys;
    this.#cursors = new HiddenCursors(keys.sealer);
  }

  /** A page may be short, or empty, and have a next one all the same. */
  async page(
    caller: Caller,
    action: Action,
    query: KeyPageQuery,
    isWanted: (key: KeyRecord) => boolean = () => true,
  ): Promise<{ items: KeyRecord[]; next: string | null }> {
    const items: KeyRecord[] = [];
    let after = this.#cursors.read(query.after);
    let scanned = 0;
    let isEnd = false;
    while (items.length < query.limit && scanned < listScanMax && !isEnd) {
      const page = await this.#keys.store.page(query, after, scanPage);
      isEnd = page.length < scanPage;
      for (const key of page) {
        if (items.length === query.limit) {
          isEnd = false;
          break;
        }
        after = key.name;
        scanned += 1;
        if (isWanted(key) && maySee(this.#keys, caller, action, key)) items.push(key);
      }
    }
    const isShown = after === items.at(-1)?.name;
    return { items, next: isEnd ? null : isShown ? after : this.#cursors.write(after) };
  }
}

/** What a name can begin with, this is not. */
const hiddenMark = '~';
const cursorLabel = 'list cursor';

/**
 * Cursors that stand for keys the caller may not see: the name is sealed in them, all at one length.
 * Whichever node gets the next request reads them.
 */
class HiddenCursors {
  readonly #sealer: Sealer;

  constructor(sealer: Sealer) {
    this.#sealer = sealer;
  }

  write(name: string): string {
    const padded = Buffer.from(name.padEnd(nameLengthMax), 'utf8');
    const sealed = this.#sealer.seal(cursorLabel, padded);
    return `${hiddenMark}${Buffer.from(sealed).toString('base64url')}`;
  }

  /** The name to go on after. Error: `invalid-request` for a cursor that was not made here. */
  read(cursor: string | undefined): string {
    if (cursor === undefined || !cursor.startsWith(hiddenMark)) return cursor ?? '';
    const sealed = Buffer.from(cursor.slice(hiddenMark.length), 'base64url');
    try {
      return Buffer.from(this.#sealer.unseal(cursorLabel, sealed)).toString('utf8').trimEnd();
    } catch {
      throw new KeyreeveError('invalid-request', 'The cursor of this list was not made here.', {
        hint: 'List again from the start.',
      });
    }
  }
}

function parseLabel(text: string | undefined): [string, string | undefined] | undefined {
  if (text === undefined) return undefined;
  const at = text.indexOf('=');
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function matches(key: KeyRecord, label: [string, string | undefined] | undefined): boolean {
  if (label === undefined) return true;
  const [name, value] = label;
  if (!Object.hasOwn(key.labels, name)) return false;
  return value === undefined || key.labels[name] === value;
}

function maySee(keys: Keys, caller: Caller, action: Action, key: KeyRecord): boolean {
  if (key.folder === systemFolder) return false;
  try {
    keys.authorise(caller, action, resourceOf(key));
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'forbidden')) return false;
    throw error;
  }
}
