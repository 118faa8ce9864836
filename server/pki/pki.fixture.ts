/** What the tests of all folders here share: calls as `http` makes them, and what went on record. */
import type { ResponseOf, RouteDefinition } from '../../api/route.ts';
import { type RouteId, type Routes, routes } from '../../api/routes.ts';
import { decodeOpening, fieldName } from '../audit/leaf.ts';
import type { Caller } from '../base/caller.ts';
import type { Storage } from '../storage/storage.ts';

type Part = 'params' | 'query' | 'body';
export type Asked = Partial<Record<Part, object>> & { idempotencyKey?: string; caller?: Caller };

/** Calls handlers as `http` does: what is asked goes through the schemas of its route. */
export function askOf<Ids extends RouteId>(
  handlers: { readonly [Id in Ids]: unknown },
  callerOf: () => Caller,
) {
  return async <Id extends Ids>(id: Id, asked: Asked = {}): Promise<ResponseOf<Routes[Id]>> => {
    const route: RouteDefinition = routes[id];
    const parsed = (part: Part) => route[part]?.parse(asked[part] ?? {}) ?? {};
    const handler = handlers[id] as (call: object) => Promise<ResponseOf<Routes[Id]>>;
    return handler({
      caller: asked.caller ?? callerOf(),
      visitor: { address: '127.0.0.1', agent: 'test', correlationId: 'req_test' },
      params: parsed('params'),
      query: parsed('query'),
      body: parsed('body'),
      idempotencyKey: asked.idempotencyKey,
    });
  };
}

/** The entries of the record that have no place yet, oldest first. */
export async function waitingEntries({ db }: Storage): Promise<Record<string, string>[]> {
  const rows = await db.selectFrom('entry_tail').select('opening').orderBy('id').execute();
  return rows.map(({ opening }) =>
    Object.fromEntries(decodeOpening(opening).map(({ field, value }) => [fieldName(field), value])),
  );
}
