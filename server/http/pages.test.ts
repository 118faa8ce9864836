import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes } from '../../api/error-codes.ts';
import type { MetricSample } from '../base/metric.ts';
import { goodToken, startServer } from './http-testing.ts';
import type { Health } from './pages.ts';

test('probes are answered without a token, with the reasons where something is wrong', async (context) => {
  let health: Health = { live: true, ready: true, reasons: [] };
  const server = await startServer(context, {}, { health: () => health });
  const ask = async (path: string) => {
    const { status, json } = await server.ask({ path, token: null });
    return [status, json.ok, json.reasons];
  };
  assert.deepEqual(await ask('/healthz'), [200, true, []]);
  assert.deepEqual(await ask('/readyz'), [200, true, []]);
  health = { live: true, ready: false, reasons: ['The database does not answer.'] };
  assert.deepEqual(await ask('/healthz'), [200, true, []]);
  assert.deepEqual(await ask('/readyz'), [503, false, ['The database does not answer.']]);
  health = { live: false, ready: false, reasons: ['The writer has ended.'] };
  assert.deepEqual(await ask('/healthz'), [503, false, ['The writer has ended.']]);
});

test('metrics need a token, and count requests, what is under way, and figures of others', async (context) => {
  const samples: MetricSample[] = [
    { name: 'keyreeve_commits_total', help: 'Commits.', kind: 'counter', values: [{ value: 7 }] },
    {
      name: 'keyreeve_key_uses_total',
      help: 'Uses.',
      kind: 'counter',
      values: [{ labels: { operation: 'sign' }, value: 3 }],
    },
    { name: 'keyreeve_record_entries', help: 'Entries.', kind: 'gauge', values: [] },
  ];
  const server = await startServer(context, {}, { metrics: async () => samples });
  assert.equal((await server.ask({ path: '/metrics', token: null })).status, 401);
  await server.ask({ path: '/api/v1/access' });
  await server.ask({ path: '/nothing' });
  await server.ask({ path: '/metrics', token: goodToken });
  const { text, headers } = await server.ask({ path: '/metrics' });
  assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/);
  for (const line of [
    'keyreeve_http_requests_total{route="access.show",status="404"} 1',
    'keyreeve_http_requests_total{route="none",status="404"} 1',
    'keyreeve_http_requests_total{route="/metrics",status="401"} 1',
    'keyreeve_http_request_seconds_count{route="access.show"} 1',
    'keyreeve_http_requests_in_flight 1',
    'keyreeve_commits_total 7',
    'keyreeve_key_uses_total{operation="sign"} 3',
  ]) {
    assert.ok(text.includes(`${line}\n`), line);
  }
  assert.match(text, /^nodejs_eventloop_lag_seconds /m);
});

test('the description of the API is served and is the same each time', async (context) => {
  const server = await startServer(context);
  const first = await server.ask({ path: '/openapi.json', token: null });
  assert.equal(first.status, 200);
  assert.equal(first.json.openapi, '3.1.1');
  assert.deepEqual((first.json.info as { version: string }).version, '1.2.3');
  assert.equal((await server.ask({ path: '/openapi.json', token: null })).text, first.text);
});

test('the page of the API comes with all it needs, from this service alone', async (context) => {
  const server = await startServer(context);
  const page = await server.ask({ path: '/docs', token: null });
  assert.equal(page.headers['content-type'], 'text/html; charset=utf-8');
  const policy = String(page.headers['content-security-policy']);
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|https:|\*/);
  assert.doesNotMatch(page.text, /<script>|<style|style=|on\w+=|https?:/);
  const links = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
  assert.equal(links.length, 4);
  const types: Record<string, string> = {
    css: 'text/css',
    js: 'text/javascript',
    png: 'image/png',
  };
  for (const path of links) {
    const asset = await server.ask({ path, token: null });
    assert.equal(asset.status, 200, path);
    assert.ok(asset.headers['content-type']?.startsWith(types[path.split('.').at(-1)!]!), path);
    assert.ok(asset.text.length > 50, path);
  }
  const start = await server.ask({ path: '/docs/start.js', token: null });
  assert.match(start.text, /url: '\/openapi\.json'/);
  assert.match(start.text, /validatorUrl: null/);
});

test('no other file can be had through the page of the API', async (context) => {
  const server = await startServer(context);
  for (const name of [
    'index.html',
    '..%2Fpackage.json',
    '%2Fetc%2Fpasswd',
    'constructor',
    '__proto__',
  ]) {
    assert.equal((await server.ask({ path: `/docs/${name}`, token: null })).status, 404, name);
  }
});

test('every error code has its page, and nothing else has', async (context) => {
  const server = await startServer(context, {}, { limits: { visitorBurstRequests: 1000 } });
  for (const [code, { title }] of Object.entries(errorCodes)) {
    const { status, text } = await server.ask({ path: `/errors/${code}`, token: null });
    assert.equal(status, 200, code);
    assert.ok(text.includes(title) && text.includes(code), code);
  }
  for (const code of ['nothing', 'toString', '%3Cscript%3E']) {
    assert.equal((await server.ask({ path: `/errors/${code}`, token: null })).status, 404, code);
  }
});
