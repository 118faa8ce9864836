import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { z } from 'zod';
import type { RouteDefinition } from '../../api/route.ts';
import { type RouteId, routes } from '../../api/routes.ts';
import { plainFields } from './plain-fields.fixture.ts';
import { isSecret, partsOf, withoutSecrets } from './secret-fields.ts';

const salt = randomBytes(32);

test('secrets become commitments, in whatever they are wrapped', () => {
  const secret = z.string().meta({ secret: true });
  const schema = z.strictObject({
    plain: z.string(),
    one: secret.optional(),
    list: z.array(z.strictObject({ pin: secret.nullable() })).default([]),
    all: z.record(z.string(), secret),
    either: z.union([z.number(), secret]),
  });
  const value = {
    plain: 'seen',
    one: 'hidden-1',
    list: [{ pin: 'hidden-2' }, { pin: null }],
    all: { a: 'hidden-3' },
    either: 'hidden-4',
  };
  const seen = JSON.stringify(withoutSecrets(schema, schema.parse(value), salt));
  assert.ok(seen.includes('"plain":"seen"'));
  assert.ok(!seen.includes('hidden'), seen);
  assert.equal(seen.match(/commitment/g)!.length, 4);
});

test('a commitment is of the value, its place and the salt', () => {
  const schema = z.strictObject({
    a: z.string().meta({ secret: true }),
    b: z.string().meta({ secret: true }),
  });
  const of = (value: { a: string; b: string }, by = salt) =>
    withoutSecrets(schema, value, by) as { a: object; b: object };
  const same = of({ a: 'x', b: 'x' });
  assert.notDeepEqual(same.a, same.b);
  assert.deepEqual(of({ a: 'x', b: 'y' }).a, same.a);
  assert.notDeepEqual(of({ a: 'x', b: 'x' }, randomBytes(32)).a, same.a);
});

test('a PIN in the address of a token is hidden', () => {
  const { body } = routes['keystore.add'];
  const value = body.parse({ name: 'hsm', uri: 'pkcs11:token=t?module-path=/m.so&pin-value=1234' });
  assert.ok(!JSON.stringify(withoutSecrets(body, value, salt)).includes('1234'));
});

test('a password in an address is hidden, and an address that is a secret itself', () => {
  const { body } = routes['alert.add'];
  for (const address of [
    'https://user:hidden@example.org/hook',
    'smtps://user:hidden/@mail.example.org',
    'https://hooks.slack.com/services/T0/B0/hidden',
  ]) {
    const value = { name: 'a', kind: 'slack', address };
    assert.ok(!JSON.stringify(withoutSecrets(body, value, salt)).includes('hidden'), address);
  }
  const plain = { name: 'a', kind: 'mail', address: 'smtps://user@mail.example.org:465' };
  assert.deepEqual(withoutSecrets(body, plain, salt), plain);
});

test('every text that a command takes is known to be a secret, or to be none', () => {
  const unknown: string[] = [];
  const found = new Set<string>();
  for (const [id, route] of Object.entries(routes as Record<RouteId, RouteDefinition>)) {
    if (route.kind !== 'command' || route.authentication === 'none') continue;
    assert.equal(route.query, undefined, `${id}: what approvers see holds no query`);
    for (const path of textsOf(route.body)) {
      found.add(`${id} ${path}`);
      if (!plainFields[id]?.includes(path)) unknown.push(`${id} ${path}`);
    }
  }
  assert.deepEqual(unknown, []);
  const known = Object.entries(plainFields).flatMap(([id, paths]) =>
    paths.map((path) => `${id} ${path}`),
  );
  assert.deepEqual(
    known.filter((name) => !found.has(name)),
    [],
    'gone by now',
  );
});

test('what is secret is marked', () => {
  for (const [id, path] of [
    ['key.import', 'material'],
    ['key.import', 'passphrase'],
    ['key.import', 'wrapped'],
    ['ca.import', 'key'],
    ['ca.import', 'passphrase'],
    ['backup.create', 'passphrase'],
    ['alert.add', 'secret'],
  ] as const) {
    assert.ok(!textsOf((routes[id] as RouteDefinition).body).includes(path), `${id} ${path}`);
  }
});

/** The places of texts that are not marked, and of what cannot be looked into. */
function textsOf(schema: z.ZodType | undefined, path = ''): string[] {
  if (schema === undefined || isSecret(schema)) return [];
  const parts = partsOf(schema);
  if (parts.length === 0) {
    const { type } = schema.def;
    return ['number', 'int', 'boolean', 'enum', 'literal', 'null', 'object'].includes(type)
      ? []
      : [path];
  }
  return [
    ...new Set(
      parts.flatMap(([name, part]) =>
        textsOf(part, [path, name].filter((word) => word !== '').join('.')),
      ),
    ),
  ];
}
