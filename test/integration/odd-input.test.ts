import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RouteDefinition } from '../../api/route.ts';
import { type RouteId, routes } from '../../api/routes.ts';
import { type RawAnswer, rawRequests } from '../raw-request.ts';
import { samples } from '../samples.ts';
import { startLoggedIn } from '../service.ts';

const { client, login, service } = await startLoggedIn({ after });
const lines = Array.from({ length: 4 }, () => rawRequests({ after }, service.url, login.caPem));

/** What no caller should send, and some does. */
const odd: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  '',
  ' ',
  '\0',
  '../..',
  '%2e%2e%2f',
  "'; DROP TABLE key; --",
  '\ud800',
  '\u202e\u0000é',
  'a'.repeat(300),
  '9999-12-31T23:59:59.999Z',
  [],
  [null],
  {},
  { __proto__: null, constructor: 'x' },
  '[[[[',
];
const names = ['__proto__', 'constructor', 'unknown'];

type Sample = { params?: object; query?: object; body?: Record<string, unknown> };

/** Every request that differs from the sample of its route in one place. */
function* requests(id: RouteId): Generator<{ path: string; body: unknown; what: string }> {
  const route: RouteDefinition = routes[id];
  const sample = samples[id] as Sample;
  const path = (replace?: [string, string]) =>
    route.path.replace(/:(\w+)/g, (_, name: string) => {
      const value = (sample.params as Record<string, unknown>)[name];
      return encodeURIComponent(replace?.[0] === name ? replace[1] : String(value));
    });
  const texts = odd.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
  for (const name of Object.keys(sample.params ?? {})) {
    for (const text of texts) {
      if (text === '' || !text.isWellFormed()) continue;
      yield { path: path([name, text]), body: sample.body, what: `${name} ${text}` };
    }
  }
  if (route.query !== undefined) {
    for (const name of ['limit', 'after', 'key', 'principal', 'since', 'label', 'folder', 'x']) {
      for (const text of texts.filter((one) => one.isWellFormed())) {
        const query = `${path()}?${name}=${encodeURIComponent(text)}`;
        yield { path: query, body: undefined, what: `${name}=${text}` };
      }
    }
  }
  if (sample.body === undefined) return;
  for (const value of odd) yield { path: path(), body: value, what: `the body ${typeof value}` };
  const fields = [...fieldsOf(route), ...names];
  for (const field of fields) {
    for (const value of odd) {
      const body = { ...sample.body };
      Object.defineProperty(body, field, { value, enumerable: true, configurable: true });
      yield { path: path(), body, what: `${field} ${JSON.stringify(value)}` };
    }
  }
}

/** The members that the schema of the body knows. */
function fieldsOf(route: RouteDefinition): string[] {
  const shape = (route.body as unknown as { shape?: object }).shape;
  return Object.keys(shape ?? {});
}

before(async () => {
  const body = { name: 'samples/key', algorithm: 'p-256', purpose: 'sign' } as const;
  await client.call('key.create', { body });
});

/** These would change who may call, if the odd value were a good one. */
const apart = new Set<RouteId>(['principal.update', 'access.apply', 'token.revoke']);

test('whatever is sent, the answer is a refusal that says why, never an unexpected error', async () => {
  let sent = 0;
  for (const id of Object.keys(routes) as RouteId[]) {
    if (apart.has(id) || id === 'login') continue;
    const route: RouteDefinition = routes[id];
    const waiting = requests(id);
    await Promise.all(
      lines.map(async (line) => {
        for (const { path, body, what } of waiting) {
          const answer = await line(route.method, path, { token: login.token, body });
          sent++;
          accept(id, what, answer);
        }
      }),
    );
  }
  assert.ok(sent > 3000, `only ${sent} requests were made`);
  assert.ok((await client.call('audit.verify', { body: {} })).ok);
});

function accept(id: RouteId, what: string, { status, json, text }: RawAnswer): void {
  const told = `${id} with ${what}: ${status} ${text.slice(0, 300)}`;
  // Two backups at a time are one too many.
  assert.ok(status < 500 || (id === 'backup.create' && json.code === 'overloaded'), told);
  if (status < 400) return;
  assert.match(String(json.code), /^[a-z-]+$/, told);
  assert.ok(String(json.detail ?? json.title).length > 0, told);
  assert.doesNotMatch(text, /\/server\/|node:internal|SQLITE|at async/, told);
}
