import assert from 'node:assert/strict';
import { isIPv6, SocketAddress } from 'node:net';
import { test } from 'node:test';
import { seededRandom } from '../../test/seeded-random.ts';
import { addressBytes, addressText, networkBytes, networkText } from './addresses.ts';
import {
  encodeExtensions,
  encodeGeneralNames,
  formatGeneralName,
  parseConstraint,
  parseGeneralName,
} from './x509.ts';

const notAllowed = { code: 'subject-not-allowed' };

test('names are read in their canonical form', () => {
  const cases: Record<string, string> = {
    'dns:WWW.Example.org': 'dns:www.example.org',
    'DNS: www.example.org ': 'dns:www.example.org',
    'dns:*.example.org': 'dns:*.example.org',
    'dns:Bücher.example': 'dns:xn--bcher-kva.example',
    'dns:localhost': 'dns:localhost',
    'ip:192.0.2.1': 'ip:192.0.2.1',
    'ip:2001:DB8:0:0:0:0:0:1': 'ip:2001:db8::1',
    'ip:::ffff:192.0.2.1': 'ip:::ffff:192.0.2.1',
    'email:Ada@Example.org': 'email:Ada@example.org',
    'email:ada@bücher.example': 'email:ada@xn--bcher-kva.example',
    'uri:https://example.org/A?b=c': 'uri:https://example.org/A?b=c',
    'uri:spiffe://example.org/ns/a': 'uri:spiffe://example.org/ns/a',
    'uri:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6':
      'uri:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
    'uri:https://bücher.example/é': 'uri:https://xn--bcher-kva.example/%C3%A9',
    'dn:O=Example, C=DE': 'dn:O=Example,C=DE',
  };
  for (const [text, canonical] of Object.entries(cases)) {
    assert.equal(formatGeneralName(parseGeneralName(text)), canonical);
    assert.deepEqual(parseGeneralName(canonical), parseGeneralName(text));
  }
});

test('names that are not of their kind are refused', () => {
  for (const text of [
    ...['www.example.org', 'other:ab', 'dns:', 'dns:a b', 'dns:a_b.example', 'dns:-a.example'],
    ...['dns:a..b', 'dns:a.example.', 'dns:192.0.2.1', 'dns:127.1', 'dns:*', 'dns:a.*.b'],
    ...['dns:*.*.b', `dns:${'a'.repeat(64)}.b`, `dns:${'a.'.repeat(127)}bb`, 'dns:a\0b'],
    ...['ip:192.0.2', 'ip:192.0.2.256', 'ip:10.0.0.0/8', 'ip:fe80::1%eth0', 'ip:', 'ip:1::2::3'],
    ...['email:ada', 'email:@b.c', 'email:a@', 'email:a b@c.d', 'email:ä@b.c', 'email:a..b@c.d'],
    ...['uri:', 'uri:/a', 'uri:example.org', 'uri:https://a b/', 'uri:http:', 'dn:x', 'dn:CN='],
  ]) {
    assert.throws(() => parseGeneralName(text), notAllowed, text);
  }
});

test('constraints are read in their canonical form', () => {
  const cases: Record<string, string> = {
    'dns:Example.org': 'dns:example.org',
    'dns:.example.org': 'dns:.example.org',
    'dns:': 'dns:',
    'ip:10.0.0.0/8': 'ip:10.0.0.0/8',
    'ip:0.0.0.0/0': 'ip:0.0.0.0/0',
    'ip:192.0.2.1': 'ip:192.0.2.1/32',
    'ip:2001:db8::/33': 'ip:2001:db8::/33',
    'email:example.org': 'email:example.org',
    'email:.example.org': 'email:.example.org',
    'email:a@Example.org': 'email:a@example.org',
    'uri:host.example': 'uri:host.example',
    'uri:.example': 'uri:.example',
    'dn:O=x,C=DE': 'dn:O=x,C=DE',
  };
  for (const [text, canonical] of Object.entries(cases)) {
    assert.equal(formatGeneralName(parseConstraint(text)), canonical);
  }
  for (const text of [
    ...[
      'ip:10.0.0.1/8',
      'ip:10.0.0.0/33',
      'ip:10.0.0.0/08',
      'ip:10.0.0.0/8/8',
      'ip:2001:db8::/129',
    ],
    ...['dns:*.example.org', 'dns:..a', 'uri:https://example.org', 'email:a@', 'x:y', 'ip:'],
  ]) {
    assert.throws(() => parseConstraint(text), notAllowed, text);
  }
});

test('addresses are written as Node prints them, and read in every spelling', () => {
  const random = seededRandom(4);
  for (let round = 0; round < 500; round++) {
    const bytes = Buffer.from(
      Array.from({ length: 16 }, () => (random(3) === 0 ? random(256) : 0)),
    );
    const text = addressText(bytes)!;
    assert.ok(isIPv6(text));
    assert.equal(new SocketAddress({ address: text, family: 'ipv6' }).address, text);
    assert.ok(addressBytes(text)?.equals(bytes), text);
  }
  assert.equal(addressText(Buffer.alloc(5)), undefined);
  assert.equal(networkText(Buffer.from('0a000000ff00ff00', 'hex')), undefined);
  assert.equal(networkText(Buffer.alloc(9)), undefined);
  assert.equal(networkText(Buffer.from('0a010203ff000000', 'hex')), '10.0.0.0/8');
  assert.equal(networkBytes('10.0.0.0/9')?.toString('hex'), '0a000000ff800000');
});

test('names that cannot be encoded are refused', () => {
  for (const name of [
    { kind: 'dns', value: 'ä' },
    { kind: 'uri', value: '' },
    { kind: 'ip', value: '1.2.3' },
    { kind: 'other', value: 'zz' },
    { kind: 'other', value: '3080' },
  ] as const) {
    assert.throws(() => encodeGeneralNames([name]), notAllowed, name.value);
  }
  assert.throws(() => encodeExtensions({ crlDistributionPoints: ['http://ä'] }, false), notAllowed);
});
