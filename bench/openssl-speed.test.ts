import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figureOf } from './openssl-speed.ts';

// As OpenSSL 3.0 prints them with -mr -multi 2.
const sums = {
  rsa: '+F2:2:2048:3493.158416:62834.000000',
  ecdsa: '+F4:3:256:42547.000000:12364.000000',
  eddsa: '+F6:0:253:Ed25519:18999.000000:7847.000000',
  aead: '+F:25:AES-256-GCM:2319334400.00',
};

test('the figure of signing, or of bytes, is read from each kind of sum', () => {
  const read = (line: string) => figureOf(`Got: ${line} from 0\n${line}\n`);
  assert.equal(read(sums.rsa), 3493.158416);
  assert.equal(read(sums.ecdsa), 42547);
  assert.equal(read(sums.eddsa), 18999);
  assert.equal(read(sums.aead), 2319334400);
});

test('output without a sum is refused, not taken for zero', () => {
  assert.throws(() => figureOf('Forked child 0\n'), /nothing readable/);
});
