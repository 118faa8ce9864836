import type { Storage } from './contract.ts';

/** The same storage, whose writes go another way. */
export function withCommit(storage: Storage, commit: Storage['commit']): Storage {
  return {
    dialect: storage.dialect,
    get nodeId() {
      return storage.nodeId;
    },
    renewNodeId: () => storage.renewNodeId(),
    db: storage.db,
    get epoch() {
      return storage.epoch;
    },
    epochAge: () => storage.epochAge(),
    refreshEpoch: () => storage.refreshEpoch(),
    commit,
    onEpoch: (listener) => storage.onEpoch(listener),
    snapshot: (use) => storage.snapshot(use),
    health: () => storage.health(),
    close: () => storage.close(),
  };
}
