import { isDeepStrictEqual } from 'node:util';
import type { CompiledQuery, RootOperationNode } from 'kysely';
import type { Storage } from './contract.ts';

/** Shapes kept for one database: more than the program has. */
const shapesMax = 500;

// Compiling a statement costs ten times what it costs to run it. What it compiles to depends on
// its shape alone, so it is kept for as long as the database it was compiled for.
const compiled = new WeakMap<Storage['db'], Map<string, CompiledQuery>>();

/**
 * A statement of the hot path with its parameters, compiled the first time that its shape is asked
 * for. `parameters` come in the order in which `build` names them, which is checked that first time.
 */
export function compiledOnce(
  { db }: Pick<Storage, 'db'>,
  shape: string,
  parameters: readonly unknown[],
  build: () => CompiledQuery,
): CompiledQuery {
  let shapes = compiled.get(db);
  if (shapes === undefined) {
    shapes = new Map();
    compiled.set(db, shapes);
  }
  let query = shapes.get(shape);
  if (query === undefined) {
    query = build();
    if (!isDeepStrictEqual([...query.parameters], [...parameters])) {
      throw new TypeError(`the parameters of the statement ${shape} come in another order`);
    }
    // Of a list of fifty rows, the tree that it was compiled from and the values it was first asked
    // with are a hundred times as long as its text; nobody looks at them again.
    query = { ...query, query: { kind: query.query.kind } as RootOperationNode, parameters: [] };
    if (shapes.size < shapesMax) shapes.set(shape, query);
  }
  return { ...query, parameters };
}
