/** What is sent: to the service for each primitive, and to the empty route. */
import { httpRequest } from './connection.ts';
import type { LoadResult } from './load.ts';
import { batchItems, inputsOf, type Primitive } from './primitives.ts';
import type { LoggedIn, StartedService } from './service-process.ts';

const requestsPerRow = 8;

export interface Target {
  readonly service: StartedService;
  readonly login: LoggedIn;
}

export interface Requests {
  readonly target: Target;
  readonly list: readonly Buffer[];
}

export interface Calls {
  readonly single: Requests;
  readonly batch: Requests;
  /** Throws unless the samples of both are right. */
  check(single: LoadResult, batch: LoadResult): Promise<void>;
}

/** A key of its own, ready-made requests, and a check of what was answered. */
export async function prepareCalls(target: Target, primitive: Primitive): Promise<Calls> {
  const { client, token } = target.login;
  const { algorithm, purpose, scheme } = primitive;
  const created = await client.call('key.create', {
    body: { name: `bench/${algorithm}`, algorithm, purpose, schemes: [scheme] },
  });
  const key = created.id;
  const publicKey = created.versions[0]!.publicKey;
  const inputs = inputsOf(primitive, requestsPerRow);
  const path = `/api/v1/keys/${key}/${purpose}`;
  const bodies = inputs.map((input) => primitive.item(input));
  const items = Array.from({ length: batchItems }, (_, index) => bodies[index % bodies.length]);
  const checkOne = async (result: Readonly<Record<string, unknown>>, tried: readonly Buffer[]) => {
    const failures: unknown[] = [];
    for (const input of tried) {
      try {
        await primitive.check({ client, key, publicKey, input, result });
        return;
      } catch (error) {
        failures.push(error);
      }
    }
    throw failures[0];
  };
  return {
    single: {
      target,
      list: bodies.map((body) => httpRequest('POST', path, token, body)),
    },
    batch: {
      target,
      list: [httpRequest('POST', `${path}/batch`, token, { items })],
    },
    check: async (single: LoadResult, batch: LoadResult) => {
      // Which of the requests the sample answers is not known: it must be one of them.
      await checkOne(JSON.parse(single.sample), inputs);
      const { results } = JSON.parse(batch.sample) as { results: Record<string, unknown>[] };
      if (results.length !== batchItems) throw new Error('a batch was not answered in full');
      for (const [index, result] of results.entries()) {
        await checkOne(result, [inputs[index % inputs.length]!]);
      }
    },
  };
}

/** Any route that answers nothing: `empty-route.ts` serves it. */
export function emptyRequests(target: Target): Requests {
  return { target, list: [httpRequest('GET', '/api/v1/status', target.login.token)] };
}
