import { groundFloor } from './0001-ground-floor.ts';
import { certificates } from './0002-certificates.ts';
import { keystores } from './0003-keystores.ts';
import { nodes } from './0004-nodes.ts';
import type { Migration } from './migration.ts';

export type { DialectName, Migration } from './migration.ts';

/** All of them, oldest first. Append only. */
export const migrations: readonly Migration[] = [groundFloor, certificates, keystores, nodes];
