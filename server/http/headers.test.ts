import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyreeveError } from '../base/errors.ts';
import { addressOf, agentOf, bearerOf, correlationIdOf, idempotencyKeyOf } from './headers.ts';

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

test('a well-formed correlation id is kept, the trace id of traceparent is the next choice', () => {
  assert.equal(correlationIdOf({ 'x-correlation-id': 'job-7:step.2' }), 'job-7:step.2');
  assert.equal(correlationIdOf({ traceparent }), '4bf92f3577b34da6a3ce929d0e0e4736');
  assert.equal(correlationIdOf({ 'x-correlation-id': 'a', traceparent }), 'a');
  assert.equal(correlationIdOf({ 'x-correlation-id': 'x'.repeat(100) }).length, 100);
});

test('anything else gets a new correlation id', () => {
  for (const headers of [
    {},
    { 'x-correlation-id': '' },
    { 'x-correlation-id': 'x'.repeat(101) },
    { 'x-correlation-id': 'a b' },
    { 'x-correlation-id': 'a\r\nSet-Cookie: b' },
    { 'x-correlation-id': 'a, b' },
    { 'x-correlation-id': '-a' },
    { 'x-correlation-id': 'ä' },
    { traceparent: traceparent.replace('4bf9', '4BF9') },
    { traceparent: `00-${'0'.repeat(32)}-00f067aa0ba902b7-01` },
    { traceparent: `${traceparent}-more` },
  ]) {
    assert.match(correlationIdOf(headers), /^req_[a-z2-7]{26}$/, JSON.stringify(headers));
  }
});

test('a token is taken from a bearer header only', () => {
  assert.equal(bearerOf({ authorization: 'Bearer abc.DEF-1_2~3+4/5==' }), 'abc.DEF-1_2~3+4/5==');
  assert.equal(bearerOf({ authorization: 'bEARER  x' }), 'x');
  assert.equal(bearerOf({ authorization: `Bearer ${'x'.repeat(4096)}` }).length, 4096);
  for (const authorization of [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Basic dXNlcjpwYXNz',
    'Bearer a b',
    'Bearer a,b',
    'Bearer ä',
    `Bearer ${'x'.repeat(4097)}`,
    'xBearer a',
  ]) {
    assert.throws(
      () => bearerOf(authorization === undefined ? {} : { authorization }),
      (error) => isKeyreeveError(error, 'unauthenticated'),
      authorization ?? 'none',
    );
  }
});

test('the agent is cut and made printable', () => {
  assert.equal(agentOf({}), '');
  assert.equal(agentOf({ 'user-agent': 'curl/8.5.0' }), 'curl/8.5.0');
  assert.equal(agentOf({ 'user-agent': 'a\u00e4\u0080b' }), 'a??b');
  assert.equal(agentOf({ 'user-agent': 'x'.repeat(201) }).length, 200);
});

test('an IPv4 caller of a dual-stack socket has its IPv4 address', () => {
  assert.equal(addressOf('::ffff:192.0.2.1'), '192.0.2.1');
  assert.equal(addressOf('2001:db8::1'), '2001:db8::1');
  assert.equal(addressOf(undefined), 'unknown');
});

test('an idempotency key has 1 to 255 visible characters', () => {
  assert.equal(idempotencyKeyOf({}), undefined);
  assert.equal(idempotencyKeyOf({ 'idempotency-key': '!' }), '!');
  assert.equal(idempotencyKeyOf({ 'idempotency-key': 'x'.repeat(255) })?.length, 255);
  for (const key of ['', 'x'.repeat(256), 'a b', 'ä']) {
    assert.throws(
      () => idempotencyKeyOf({ 'idempotency-key': key }),
      (error) => isKeyreeveError(error, 'invalid-request'),
    );
  }
});
