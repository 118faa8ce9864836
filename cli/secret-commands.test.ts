import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { json } from '../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../test/doubles/logged-in.ts';

const secret = Buffer.alloc(32, 7);
const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64');

test('a shared secret and its encapsulation are two private files; --json holds no secret', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { keyId: 'k', version: 2, secret: base64(secret), ciphertext: base64('c') }),
  );
  const words = ['encapsulate', 'a@2', '--out', file('s'), '--out-ciphertext', file('c')];
  const ran = await cli.run([...words, '--json']);
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(JSON.parse(ran.out), { keyId: 'k', version: 2 });
  assert.deepEqual(readFileSync(file('s')), secret);
  assert.equal(readFileSync(file('c'), 'utf8'), 'c');
  assert.equal(statSync(file('s')).mode & 0o777, 0o600);
  assert.deepEqual(sentBody(service), { version: 2 });
});

test('outputs that clash or exist are refused before the key is used', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) => json(response, {}));
  writeFileSync(file('there'), 'old');
  const outputs = (out: string, other: string) => ['--out', out, '--out-ciphertext', other];
  for (const [code, options] of [
    [5, outputs(file('s'), file('there'))],
    [5, outputs(file('there'), file('c'))],
    [2, outputs(file('s'), file('s'))],
    [2, outputs('-', '-')],
    [2, [...outputs('-', file('c')), '--json']],
  ] as const) {
    const ran = await cli.run(['encapsulate', 'a', ...options]);
    assert.equal(ran.code, code, ran.error);
    assert.match(ran.error, /hint|"hint"/);
  }
  assert.equal(service.requests.length, 0);
  assert.equal(existsSync(file('s')), false);
});

test('a data key whose plaintext nobody wants never leaves the service', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, {
      keyId: 'k',
      version: 1,
      scheme: 'xaes-256-gcm',
      plaintext: null,
      ciphertext: base64('wrapped'),
    }),
  );
  const ran = await cli.run(['data-key', 'a', '--out-wrapped', file('w')]);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(sentBody(service).withPlaintext, false);
  assert.equal(readFileSync(file('w'), 'utf8'), 'wrapped');
});

test('agree takes a public key in PEM or DER, and no private one', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { keyId: 'k', version: 1, secret: base64(secret) }),
  );
  const { generateKeyPairSync } = await import('node:crypto');
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  const der = publicKey.export({ format: 'der', type: 'spki' });
  writeFileSync(file('der'), der);
  writeFileSync(file('pem'), publicKey.export({ format: 'pem', type: 'spki' }));
  writeFileSync(file('private'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const agree = (peer: string, ...rest: string[]) =>
    cli.run(['agree', 'a', '--peer', file(peer), '--out', file('s'), '--force', ...rest]);
  for (const peer of ['der', 'pem']) {
    const ran = await agree(peer, '--info', 'tokens', '--length', '64');
    assert.equal(ran.code, 0, ran.error);
    assert.deepEqual(sentBody(service), {
      peer: base64(der),
      info: base64('tokens'),
      length: 64,
    });
  }
  const sent = service.requests.length;
  assert.equal((await agree('private')).code, 2);
  for (const length of ['15', '65', 'x']) {
    assert.equal((await agree('pem', '--length', length)).code, 2);
  }
  assert.equal(service.requests.length, sent);
});
