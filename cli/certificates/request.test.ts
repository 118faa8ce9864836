import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type TestCli, testCli } from '../../test/doubles/command-line.ts';
import { run, tryRun } from '../../test/tools.ts';

const subject = ['--subject', 'CN=www.example.org,O=Beispiel Größe,C=DE'];
const at = (cli: TestCli, name: string) => join(cli.folder, name);
const request = (cli: TestCli, ...words: string[]) => cli.run(['cert', 'request', ...words]);

test('openssl takes the request of a new key, with subject and names, and the key is private', async (t) => {
  const cli = testCli(t);
  const [key, csr] = [at(cli, 'k.pem'), at(cli, 'r.csr')];
  const names = ['--name', 'dns:www.example.org', '--name', 'dns:*.example.org'];
  const more = ['--name', 'ip:2001:db8::1', '--new-key', key, '--out', csr];
  const ran = await request(cli, ...subject, ...names, ...more);
  assert.equal(ran.code, 0, ran.error);
  const checked = tryRun('openssl', ['req', '-in', csr, '-verify', '-noout', '-text']);
  assert.equal(checked.status, 0, String(checked.stderr));
  const text = `${checked.stdout}`;
  assert.match(text, /Subject: C ?= ?DE, O ?= ?Beispiel Gr.*, CN ?= ?www.example.org/);
  assert.match(text, /DNS:www.example.org, DNS:\*.example.org, IP Address:2001:DB8:0:0:0:0:0:1/);
  assert.match(text, /ecdsa-with-SHA256/);
  assert.equal(statSync(key).mode & 0o777, 0o600);
  const [mine, sent] = [
    run('openssl', ['pkey', '-in', key, '-pubout']).toString(),
    run('openssl', ['req', '-in', csr, '-pubkey', '-noout']).toString(),
  ];
  assert.equal(mine, sent, 'the request is for the key that was written');
  assert.doesNotMatch(ran.out + ran.error, /PRIVATE/);
  assert.match(ran.error, /^next: keyreeve cert issue --ca NAME/m);
});

test('a key that is there is used again, in each form and algorithm', async (t) => {
  const cli = testCli(t);
  for (const algorithm of ['p-384', 'rsa-2048', 'ed25519']) {
    const key = at(cli, `${algorithm}.pem`);
    const made = ['--new-key', key, '--algorithm', algorithm, '--out', at(cli, 'first.csr')];
    assert.equal((await request(cli, ...subject, ...made)).code, 0, algorithm);
    const ran = await request(cli, '--subject', 'CN=b', '--key', key, '--out', '-');
    assert.equal(ran.code, 0, ran.error);
    run('openssl', ['req', '-verify', '-noout'], ran.out);
    const spki = run('openssl', ['req', '-pubkey', '-noout'], ran.out).toString();
    const own = createPublicKey(createPrivateKey(readFileSync(key)));
    assert.equal(spki, own.export({ format: 'pem', type: 'spki' }), algorithm);
  }
  const scheme = ['--key', at(cli, 'rsa-2048.pem'), '--scheme', 'rsa-pkcs1-sha256', '--out', '-'];
  const { out } = await request(cli, ...subject, ...scheme);
  const text = run('openssl', ['req', '-noout', '-text'], out).toString();
  assert.match(text, /sha256WithRSAEncryption/);
});

test('a passphrase encrypts the new key, and opens it again', async (t) => {
  const cli = testCli(t);
  const [key, word] = [at(cli, 'k.pem'), at(cli, 'word')];
  writeFileSync(word, 'correct horse\n', { mode: 0o600 });
  const made = ['--new-key', key, '--passphrase-file', word, '--out', at(cli, 'r.csr')];
  assert.equal((await request(cli, ...subject, ...made)).code, 0);
  assert.match(readFileSync(key, 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/);
  run('openssl', ['pkey', '-in', key, '-passin', `file:${word}`, '-noout']);
  const again = ['--key', key, '--out', at(cli, 'r.csr')];
  assert.equal((await request(cli, ...subject, ...again)).code, 1);
  const opened = await request(cli, ...subject, ...again, '--passphrase-file', word);
  assert.equal(opened.code, 0, opened.error);
});

test('a key that others can read, or that is a link, is refused with what mends it', async (t) => {
  const cli = testCli(t);
  const key = at(cli, 'k.pem');
  run('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', key]);
  chmodSync(key, 0o640);
  const words = [...subject, '--key', key, '--out', at(cli, 'r.csr')];
  const lax = await request(cli, ...words);
  assert.equal(lax.code, 1);
  assert.match(lax.error, /open to others \(mode 640\)\nhint: Run: chmod 600 .*k.pem/);
  assert.equal(existsSync(at(cli, 'r.csr')), false);
  chmodSync(key, 0o600);
  assert.equal((await request(cli, ...words)).code, 0);
});

test('nothing is overwritten that is something else, and nothing is made for a wrong request', async (t) => {
  const cli = testCli(t);
  const [key, csr] = [at(cli, 'k.pem'), at(cli, 'r.csr')];
  const there = at(cli, 'there');
  writeFileSync(there, 'something else');
  for (const [words, code, error] of [
    [[...subject, '--new-key', there, '--out', csr], 5, /exists already/],
    [[...subject, '--new-key', key, '--out', there], 5, /exists already/],
    [[...subject, '--out', csr], 2, /one of --key and --new-key/],
    [[...subject, '--new-key', key, '--key', key, '--out', csr], 2, /one of --key and --new-key/],
    [[...subject, '--new-key', '-', '--out', csr], 2, /a private key is a file/],
    [[...subject, '--new-key', csr, '--out', csr], 2, /same name/],
    [[...subject, '--new-key', key, '--out', csr, '--algorithm', 'p-257'], 2, /is no algorithm/],
    [[...subject, '--new-key', key, '--out', csr, '--algorithm', 'x25519'], 2, /do not sign/],
    [[...subject, '--new-key', key, '--out', csr, '--scheme', 'ed25519'], 2, /does not sign with/],
    [[...subject, '--key', there, '--out', csr, '--algorithm', 'p-256'], 2, /for new keys/],
    [['--subject', 'www', '--new-key', key, '--out', csr], 2, /error: /],
    [[...subject, '--name', 'www', '--new-key', key, '--out', csr], 2, /error: /],
    [[...subject, '--name', 'ip:1.2.3', '--new-key', key, '--out', csr], 2, /error: /],
  ] as const) {
    const ran = await request(cli, ...words);
    assert.equal(ran.code, code, `${words.join(' ')}: ${ran.error}`);
    assert.match(ran.error, error, words.join(' '));
    assert.match(ran.error, /\nhint: /, words.join(' '));
  }
  assert.equal(existsSync(key), false);
  assert.equal(existsSync(csr), false);
  assert.equal(readFileSync(there, 'utf8'), 'something else');
});
