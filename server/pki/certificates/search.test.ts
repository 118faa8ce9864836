import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import type { ErrorCode } from '../../../api/error-codes.ts';
import { startPostgres } from '../../../test/postgres.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import { newTimedId } from '../../base/ids.ts';
import type { Schema } from '../../storage/storage.ts';
import { insertCertificates, searchTerm, sha256 } from '../certificate-record.ts';
import { openTestCertificates, temporaryFolder } from './certificates.fixture.ts';
import { narrowedQuery, type Search, searchScanMax, walkQuery } from './search.ts';
import { termsOf } from './search-names.ts';

const is = (code: ErrorCode) => (error: unknown) => isKeyreeveError(error, code);
type Test = Awaited<ReturnType<typeof openTestCertificates>>;

/** Rows as issuing writes them, without the cost of signing; the oldest first. */
async function store(
  ca: Test,
  rows: readonly (Partial<Schema['certificate']> & { ca_id: string; names?: readonly string[] })[],
) {
  let at = ca.clock.now() - rows.length;
  const records = rows.map(({ names = [], ...row }, index) => {
    const split = names.map((name) => {
      const [kind, ...value] = name.split(':');
      return { kind: kind as 'dns', value: value.join(':') };
    });
    at += 1;
    return {
      row: {
        id: newTimedId('crt', at),
        ca_version: 1,
        serial: sha256(Buffer.from(`${index} ${row.ca_id}`)).slice(0, 32),
        subject: `CN=host${index}`,
        profile: 'tls-server',
        not_before: at,
        not_after: ca.clock.now() + 86_400_000,
        fingerprint: sha256(Buffer.from(`certificate ${index}`)),
        key_fingerprint: sha256(Buffer.from(`key ${index}`)),
        key_id: null,
        key_version: null,
        names_json: JSON.stringify(names),
        created_at: at,
        created_by: 'prn_test',
        revoked_at: null,
        reason: null,
        invalid_from: null,
        der: null,
        ...row,
      },
      terms: split.map(searchTerm),
    };
  });
  for (let start = 0; start < records.length; start += 500) {
    const portion = records.slice(start, start + 500);
    await ca.storage.commit({ steps: insertCertificates(ca.storage, portion), entries: [] });
  }
  return records.map(({ row }) => row);
}

async function fill(ca: Test) {
  const one = await ca.root('one');
  const two = await ca.root('two');
  const now = ca.clock.now();
  const past = { not_after: now - 1000 };
  const revoked = { revoked_at: now, reason: 'superseded' };
  const rows = await store(ca, [
    { ca_id: one.id, names: ['dns:www.example.org'], subject: 'CN=www.example.org,O=Example' },
    { ca_id: one.id, names: ['dns:example.org', 'dns:*.example.org'], ...past },
    { ca_id: two.id, names: ['dns:api.example.org', 'ip:192.0.2.1'], ...revoked },
    { ca_id: two.id, names: ['email:Ada@Example.org'], profile: 'email' },
    { ca_id: one.id, names: ['dns:example.organic'], ...revoked, reason: 'certificateHold' },
    { ca_id: one.id, names: ['uri:urn:thing'], not_after: now + 1000, subject: 'CN=100%_x' },
  ]);
  return { one, two, rows, now };
}

for (const dialect of ['sqlite', 'postgres'] as const) {
  test(`every filter finds what it names, and nothing else, on ${dialect}`, async (t) => {
    const place = await placeFor(t, dialect);
    if (place === undefined) return;
    await using ca = await openTestCertificates(place);
    const { rows } = await fill(ca);
    const found = async (query: object) => {
      const list = await ca.list({ ...query });
      return list
        .map(({ id }) => rows.findIndex((row) => row.id === id))
        .filter((index) => index !== -1);
    };
    const cases: [object, number[]][] = [
      [{}, [5, 4, 3, 2, 1, 0]],
      [{ ca: 'one' }, [5, 4, 1, 0]],
      [{ name: 'www.example.org' }, [0]],
      [{ name: 'dns:WWW.Example.ORG' }, [0]],
      [{ name: '.example.org' }, [2, 1, 0]],
      [{ name: '.org' }, [2, 1, 0]],
      [{ name: 'example.org' }, [1]],
      [{ name: '*.example.org' }, [1]],
      [{ name: '192.0.2.1' }, [2]],
      [{ name: 'Ada@example.org' }, [3]],
      [{ name: 'uri:urn:thing' }, [5]],
      [{ name: '.example.org', ca: 'two' }, [2]],
      [{ serial: rows[3]!.serial.toUpperCase() }, [3]],
      [{ key: rows[4]!.key_fingerprint }, [4]],
      [{ profile: 'email' }, [3]],
      [{ state: 'valid' }, [5, 3, 0]],
      [{ state: 'expired' }, [1]],
      [{ state: 'revoked' }, [2]],
      [{ state: 'on-hold' }, [4]],
      [{ state: 'valid', ca: 'one' }, [5, 0]],
      [{ state: 'revoked', ca: 'one' }, []],
      [{ state: 'expired', ca: 'one' }, [1]],
      [{ expiresBefore: '2030-01-01T00:00:02Z' }, [5, 1]],
      [{ expiresBefore: '2030-01-01T00:00:02Z', state: 'valid' }, [5]],
      [{ expiresAfter: '2030-01-01T00:00:02Z', profile: 'tls-server' }, [4, 2, 0]],
      [{ subject: 'o=EXAMPLE' }, [0]],
      [{ subject: '100%_' }, [5]],
      [{ subject: 'nowhere' }, []],
    ];
    for (const [query, expected] of cases) {
      assert.deepEqual(await found(query), expected, JSON.stringify(query));
    }
    await assert.rejects(ca.list({ name: 'a b' }), is('invalid-request'));
    await assert.rejects(ca.list({ ca: 'none' }), is('not-found'));
    await assert.rejects(ca.list({ key: 'none' }), is('not-found'));
  });
}

test('a list goes on where the page before ended, whatever was issued meanwhile', async () => {
  await using ca = await openTestCertificates();
  const one = await ca.root('one');
  await store(
    ca,
    Array.from({ length: 25 }, (_, index) => ({
      ca_id: one.id,
      names: [`dns:host${index}.example.org`],
    })),
  );
  for (const query of [{}, { ca: 'one' }, { name: '.example.org' }, { subject: 'host' }]) {
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const asked = { ...query, limit: 4, ...(after === undefined ? {} : { after }) };
      const page = await ca.ask('certificate.list', { query: asked });
      seen.push(...page.items.map(({ id }) => id));
      after = page.next ?? undefined;
    } while (after !== undefined);
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(seen.length >= 25, JSON.stringify(query));
    assert.deepEqual(seen, [...seen].sort().reverse());
  }
});

test('certificates of CAs that the caller may not see are not in the list', async () => {
  await using ca = await openTestCertificates();
  const { rows } = await fill(ca);
  ca.rights.authorise = (_caller, _action, resource) => {
    if (resource.type === 'key' && resource.name !== 'two')
      throw new KeyreeveError('forbidden', 'no');
  };
  const ids = async (query: object) => new Set((await ca.list(query)).map(({ id }) => id));
  for (const query of [{}, { name: '.example.org' }, { expiresAfter: '2020-01-01T00:00:00Z' }]) {
    const found = await ids(query);
    assert.ok(found.has(rows[2]!.id));
    for (const hidden of [0, 1, 4, 5]) assert.ok(!found.has(rows[hidden]!.id));
  }
  assert.equal((await ids({ serial: rows[0]!.serial })).size, 0);
  assert.equal((await ids({ state: 'expired' })).size, 0);
  await assert.rejects(ca.list({ ca: 'one' }), is('forbidden'));
  ca.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'no');
  };
  assert.equal((await ids({})).size, 0);
});

test('a search without an index looks at so many rows for a page, and goes on', async () => {
  await using ca = await openTestCertificates();
  const one = await ca.root('one');
  const rare = { ca_id: one.id, subject: 'CN=rare' };
  const many = Array.from({ length: searchScanMax }, () => ({ ca_id: one.id }));
  const [first] = await store(ca, [rare, ...many]);
  const page = await ca.ask('certificate.list', { query: { subject: 'rare' } });
  assert.deepEqual(page.items, []);
  assert.notEqual(page.next, null);
  const next = await ca.ask('certificate.list', { query: { subject: 'rare', after: page.next! } });
  assert.deepEqual([next.items.map(({ id }) => id), next.next], [[first!.id], null]);
});

test('every filter that has an index is answered by it', async () => {
  await using ca = await openTestCertificates();
  const { one, two, now } = await fill(ca);
  const base = { owners: [one.id, two.id], isEveryOwner: true };
  const plan = async (search: Search, after?: string) => {
    const query =
      narrowedQuery(ca.storage, search, after, now) ??
      walkQuery(ca.storage, search, after, undefined, now);
    const compiled = query.limit(50).compile();
    const rows = await sql<{ detail: string }>`EXPLAIN QUERY PLAN ${sql.raw(
      compiled.parameters.reduce<string>(
        (text, value) =>
          text.replace('?', typeof value === 'number' ? String(value) : `'${value}'`),
        compiled.sql,
      ),
    )}`.execute(ca.storage.db);
    return rows.rows.map(({ detail }) => detail).join('; ');
  };
  const cases: [string, Partial<Search>, RegExp][] = [
    ['serial', { serial: 'ab' }, /USING INDEX certificate_by_serial/],
    ['key', { keys: ['ab', 'cd'] }, /USING INDEX certificate_by_public_key/],
    ['name', { terms: termsOf('www.example.org') }, /SEARCH certificate_name USING PRIMARY KEY/],
    ['domain', { terms: termsOf('.example.org') }, /SEARCH certificate_name USING PRIMARY KEY/],
    ['CA', { ca: one.id }, /USING (COVERING )?INDEX certificate_by_age/],
    ['CA and valid', { ca: one.id, state: 'valid' }, /USING INDEX certificate_by_age/],
    ['CA and revoked', { ca: one.id, state: 'revoked' }, /USING INDEX certificate_revoked/],
    ['CA and on hold', { ca: one.id, state: 'on-hold' }, /USING INDEX certificate_revoked/],
    ['CA and expired', { ca: one.id, state: 'expired' }, /certificate_by_authority/],
    ['revoked', { state: 'revoked' }, /USING INDEX certificate_revoked/],
    ['expiry', { expiresBefore: now }, /certificate_by_authority/],
    ['expiry of the living', { expiresBefore: now, state: 'valid' }, /certificate_by_authority/],
  ];
  for (const [what, search, index] of cases) {
    for (const after of [undefined, 'crt_zzz']) {
      const text = await plan({ ...base, ...search }, after);
      assert.match(text, index, `${what}: ${text}`);
      assert.doesNotMatch(text, /SCAN certificate(?! USING)/, `${what}: ${text}`);
    }
  }
  // Newest first without a filter, and scans of a page, walk the index of ids.
  assert.match(await plan(base, 'crt_zzz'), /sqlite_autoindex_certificate_1/);
  assert.match(await plan({ ...base, subject: 'x' }, 'crt_zzz'), /sqlite_autoindex_certificate_1/);
});

async function placeFor(t: TestContext, dialect: 'sqlite' | 'postgres') {
  if (dialect === 'sqlite') return {};
  const server = startPostgres(t);
  if (server === undefined) return undefined;
  t.after(() => server.remove());
  return { folder: temporaryFolder(t), databaseUrl: server.createDatabase('keyreeve') };
}
