import assert from 'node:assert/strict';
import { test } from 'node:test';
import { databaseHostsMax, splitDatabaseUrl } from './database-url.ts';

test('a URL of one server is left as it is', () => {
  for (const url of [
    'postgresql://keyreeve@db.example.org/keyreeve',
    'postgres://keyreeve:p%40ss@10.0.0.1:5433/keyreeve?sslmode=verify-full',
    'postgresql:///keyreeve?host=%2Frun%2Fpostgresql',
    'postgresql://[::1]:5432/keyreeve',
  ]) {
    assert.deepEqual(splitDatabaseUrl(url), [url]);
  }
});

test('several servers become a URL each, with the user and the options of all', () => {
  assert.deepEqual(
    splitDatabaseUrl('postgresql://keyreeve:a%2Cb@db1:5432,db2,[::1]:5433/keyreeve?sslmode=x'),
    ['db1:5432', 'db2', '[::1]:5433'].map(
      (host) => `postgresql://keyreeve:a%2Cb@${host}/keyreeve?sslmode=x`,
    ),
  );
});

test('what names no servers, a nameless one or too many is refused', () => {
  const many = Array.from({ length: databaseHostsMax + 1 }, (_, index) => `db${index}`);
  for (const url of [
    'mysql://db1/keyreeve',
    'db1,db2',
    'postgresql://db1,,db2/keyreeve',
    'postgresql://db1:70000,db2/keyreeve',
    `postgresql://${many.join(',')}/keyreeve`,
  ]) {
    assert.equal(splitDatabaseUrl(url), undefined, url);
  }
  assert.equal(splitDatabaseUrl(`postgresql://${many.slice(1).join(',')}/k`)?.length, 8);
});
