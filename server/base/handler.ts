import type { BodyOf, ParamsOf, QueryOf, ResponseOf } from '../../api/route.ts';
import type { RouteId, Routes } from '../../api/routes.ts';
import type { Caller } from './caller.ts';

/** One call of a route, authenticated and validated. */
export interface Call<Id extends RouteId> {
  /** Undefined on routes without authentication. */
  readonly caller: Caller;
  readonly params: ParamsOf<Routes[Id]>;
  readonly query: QueryOf<Routes[Id]>;
  readonly body: BodyOf<Routes[Id]>;
  /** `Idempotency-Key` of a command. */
  readonly idempotencyKey: string | undefined;
}

/** What a route without authentication knows of who calls. */
export interface Visitor {
  readonly address: string;
  readonly agent: string;
  readonly correlationId: string;
}

/** A stream of octets, for routes whose response is `stream`. */
export interface StreamAnswer {
  readonly contentType: string;
  readonly fileName: string;
  readonly body: AsyncIterable<Uint8Array>;
  /** Further response headers, such as `Content-Length` and `Repr-Digest` (RFC 9530). */
  readonly headers?: Readonly<Record<string, string>>;
}

type AnswerOf<Id extends RouteId> = Routes[Id] extends { response: 'stream' }
  ? StreamAnswer
  : ResponseOf<Routes[Id]>;

type CallOf<Id extends RouteId> = Routes[Id] extends { authentication: 'none' }
  ? Omit<Call<Id>, 'caller'> & { readonly visitor: Visitor }
  : Call<Id>;

/** What a feature gives `http` for each of its routes: the rules live in the feature. */
export type Handlers<Ids extends RouteId> = {
  readonly [Id in Ids]: (call: CallOf<Id>) => Promise<AnswerOf<Id>>;
};
