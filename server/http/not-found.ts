import type { FastifyRequest } from 'fastify';
import { KeyreeveError } from '../base/errors.ts';

export interface KnownPath {
  readonly method: string;
  /** Fastify's form: `/api/v1/keys/:key`. */
  readonly path: string;
}

/** What to say of a request that no route took: another method would do, or nothing is there. */
export function notFoundError(known: readonly KnownPath[]): (request: FastifyRequest) => Error {
  const patterns = known.map(({ method, path }) => ({ method, pattern: patternOf(path) }));
  return ({ method, raw }) => {
    const [path = ''] = (raw.url ?? '').split('?');
    const allowed = new Set<string>();
    for (const one of patterns) if (one.pattern.test(path)) allowed.add(one.method);
    if (allowed.has('GET')) allowed.add('HEAD');
    if (allowed.size === 0) {
      return new KeyreeveError('not-found', 'There is nothing at this path.', {
        hint: 'See /docs for what is there. In a path, write the slashes of a name as %2F.',
      });
    }
    // The router passes over parts that are too long, so the path itself is known.
    if (allowed.has(method)) {
      return new KeyreeveError('invalid-request', 'A part of the path is too long.');
    }
    const allow = [...allowed].join(', ');
    return new KeyreeveError('method-not-allowed', `${method} is not possible here.`, {
      hint: `Use ${allow}.`,
      data: { allow },
    });
  };
}

function patternOf(path: string): RegExp {
  const parts = path
    .split('/')
    .map((part) => (part.startsWith(':') ? '[^/]+' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')));
  return new RegExp(`^${parts.join('/')}$`);
}
