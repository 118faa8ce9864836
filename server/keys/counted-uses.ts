import { type SchemeName, type SchemeRow, schemes } from '../../api/algorithms.ts';
import type { VersionRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';

/** Uses set aside in one write; those of a process that ends are lost, never used twice. */
export const reservedBlockUses = 65_536;

interface Block {
  left: number;
}

/**
 * Counts the uses of schemes that wear a key out. A block is reserved in the database before the
 * first of it is used, so that a crash can only lose uses, never repeat them.
 */
export class CountedUses {
  readonly #keys: Keys;
  readonly #blocks = new Map<string, Block>();

  constructor(keys: Keys) {
    this.#keys = keys;
  }

  /** Takes uses of a version, reserving more where needed. Error: `key-usage-exhausted`. */
  async take(version: VersionRecord, scheme: SchemeName, amount: number): Promise<void> {
    const row: SchemeRow = schemes[scheme];
    if (!('usesMaximum' in row)) return;
    const slot = `${version.keyId}@${version.version}`;
    const block = this.#blocks.get(slot) ?? { left: 0 };
    this.#blocks.set(slot, block);
    while (block.left < amount) {
      await this.#keys.rotations.run(`counted ${slot}`, async () => {
        if (block.left >= amount) return;
        await this.#reserve(version, row.usesMaximum);
        block.left += reservedBlockUses;
      });
    }
    block.left -= amount;
  }

  /** Counts on from what is stored, whoever has counted there: no two nodes get the same uses. */
  async #reserve({ keyId, version }: VersionRecord, usesMaximum: number): Promise<void> {
    const { storage } = this.#keys;
    const query = storage.db
      .updateTable('key_version')
      .set(({ eb }) => ({ uses_reserved: eb('uses_reserved', '+', reservedBlockUses) }))
      .where('key_id', '=', keyId)
      .where('version', '=', version)
      .where('uses_reserved', '<=', usesMaximum - reservedBlockUses)
      .compile();
    await storage.commit({ steps: [{ query, expect: exhausted }], entries: [] });
  }
}

const exhausted = {
  rows: 1,
  code: 'key-usage-exhausted',
  message: 'This version has encrypted as many messages as AES-GCM with random nonces allows.',
  hint: 'Rotate the key, or make one with the scheme xaes-256-gcm, which has no such limit.',
} as const;
