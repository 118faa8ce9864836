import assert from 'node:assert/strict';
import { hkdfSync } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { dataBytesMax } from '../api/fields.ts';
import { json, problem } from '../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../test/doubles/logged-in.ts';

test('sign writes the bytes of the signature, and says on standard error which version made it', async (t) => {
  const signature = Buffer.from([0, 1, 2, 255]);
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, {
      keyId: 'key_1',
      version: 3,
      scheme: 'ed25519',
      signature: signature.toString('base64'),
    }),
  );
  writeFileSync(file('message.bin'), 'hello');
  const words = ['sign', 'a@3', '--in', file('message.bin'), '--out', file('message.sig')];
  const ran = await cli.run(words);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(ran.out, '');
  assert.equal(ran.error, 'signed with a, version 3, ed25519\n');
  assert.deepEqual(readFileSync(file('message.sig')), signature);
  assert.deepEqual(sentBody(service), { data: 'aGVsbG8=', version: 3 });
  const piped = await cli.run(['sign', 'a', '--in', '-', '--out', '-'], 'hello');
  assert.deepEqual(piped.outBytes, signature);
  assert.equal((await cli.run([...words.slice(0, -1), '-', '--json'])).code, 2);
});

test('a file over the limit is not sent, and the hint says what to do', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { version: 1, scheme: 's', signature: '' }),
  );
  writeFileSync(file('large'), Buffer.alloc(dataBytesMax + 1));
  const ran = await cli.run(['sign', 'a', '--in', file('large'), '--out', file('sig')]);
  assert.equal(ran.code, 2);
  assert.match(ran.error, /hint: Sign the list of its hashes instead: sha256sum/);
  assert.equal(service.requests.length, 0);
  writeFileSync(file('large'), Buffer.alloc(dataBytesMax));
  const edge = await cli.run(['sign', 'a', '--in', file('large'), '--out', file('sig')]);
  assert.equal(edge.code, 0, edge.error);
});

test('verify answers "not valid" with exit code 1, and errors with others', async (t) => {
  let valid = true;
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { keyId: 'key_1', version: valid ? 2 : 0, valid }),
  );
  writeFileSync(file('m'), 'hello');
  writeFileSync(file('s'), 'signature');
  const verify = () => cli.run(['verify', 'a', '--in', file('m'), '--signature', file('s')]);
  assert.deepEqual(await verify().then(({ code, out }) => [code, out]), [
    0,
    'valid: a, version 2\n',
  ]);
  valid = false;
  assert.deepEqual(await verify().then(({ code, out }) => [code, out]), [1, 'not valid\n']);
  service.answer = (_, response) =>
    problem(response, 404, { code: 'not-found', detail: 'No key.' });
  const missing = await verify();
  assert.deepEqual([missing.code, missing.error], [4, 'error: no key\n']);
});

test('a file is encrypted with a data key and comes back; the data key is asked for by version', async (t) => {
  const dataKey = Buffer.alloc(32, 5);
  const keyId = `key_${'a'.repeat(26)}`;
  const { cli, service, file } = await loggedIn(t, (request, response) =>
    request.url.endsWith('/data-key')
      ? json(response, {
          keyId,
          version: 2,
          scheme: 'xaes-256-gcm',
          plaintext: dataKey.toString('base64'),
          ciphertext: Buffer.from('wrapped').toString('base64'),
        })
      : json(response, { keyId, version: 2, plaintext: dataKey.toString('base64') }),
  );
  const content = Buffer.from(hkdfSync('sha256', 'x', '', '', 8000));
  writeFileSync(file('plain'), content);
  const ran = await cli.run(['encrypt', 'data', '--in', file('plain'), '--out', file('sealed')]);
  assert.equal(ran.code, 0, ran.error);
  const back = await cli.run(['decrypt', 'data', '--in', file('sealed'), '--out', file('back')]);
  assert.equal(back.code, 0, back.error);
  assert.deepEqual(readFileSync(file('back')), content);
  assert.equal(statSync(file('back')).mode & 0o777, 0o600);
  assert.equal(sentBody(service).version, 2);
  const again = await cli.run(['decrypt', 'data', '--in', file('sealed'), '--out', file('back')]);
  assert.equal(again.code, 5);
  const altered = readFileSync(file('sealed'));
  altered[altered.length - 1]! ^= 1;
  writeFileSync(file('sealed'), altered);
  const bad = await cli.run(['decrypt', 'data', '--in', file('sealed'), '--out', file('other')]);
  assert.equal(bad.code, 1);
  assert.equal(existsSync(file('other')), false);
});

test('decrypting with another key says which one the file is for', async (t) => {
  const keyId = `key_${'a'.repeat(26)}`;
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, {
      keyId,
      version: 1,
      plaintext: Buffer.alloc(32).toString('base64'),
      ciphertext: 'AAAA',
    }),
  );
  await cli.run(['encrypt', 'data', '--in', '-', '--out', file('sealed')], 'x');
  service.answer = (request, response) =>
    request.url.endsWith('/decrypt')
      ? problem(response, 400, { code: 'invalid-ciphertext', detail: 'Not authentic.' })
      : json(response, { id: 'key_other', name: 'other' });
  const ran = await cli.run(['decrypt', 'other', '--in', file('sealed'), '--out', '-']);
  assert.equal(ran.code, 1);
  assert.match(ran.error, new RegExp(`is not for the key other\nhint: .*${keyId}`));
});

test('the public key is fetched without a token', async (t) => {
  const pem = '-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n';
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, {
      name: 'a',
      currentVersion: 2,
      versions: [
        { version: 1, publicKey: 'old', fingerprint: 'f1' },
        { version: 2, publicKey: pem, fingerprint: 'f2' },
      ],
    }),
  );
  delete cli.env.KEYREEVE_TOKEN;
  const ran = await cli.run(['key', 'public', 'a', '--out', file('key.pub')]);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(readFileSync(file('key.pub'), 'utf8'), pem);
  assert.equal((await cli.run(['key', 'public', 'a@1', '--out', '-'])).out, 'old\n');
  assert.equal((await cli.run(['key', 'public', 'a@3', '--out', '-'])).code, 4);
  assert.equal(service.requests[0]?.headers.authorization, undefined);
});
