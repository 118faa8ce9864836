import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ErrorCode } from '../../api/error-codes.ts';
import { startLoggedIn } from '../service.ts';
import { mustRun, runScript } from '../shell.ts';

// One service for the whole file.
const { installation, service, client, login } = await startLoggedIn({ after });
const { folder } = installation;
const file = (name: string) => join(folder, name);
writeFileSync(file('ca.pem'), login.caPem);
const environment = {
  KEYREEVE_URL: service.url,
  KEYREEVE_TOKEN: login.token,
  KEYREEVE_CA_FILE: file('ca.pem'),
};
const must = async (script: string) =>
  (await mustRun(installation, `set -e\n${script}`, { environment })).stdout.toString();

await must(`
  keyreeve ca create root --algorithm p-256 --subject 'CN=Root' --validity 30d --path-length 1
  keyreeve ca create sub --parent root --algorithm p-256 --subject 'CN=Sub' --permit dns:example.test \
    --exclude dns:secret.example.test --validity 20d
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout good.key \
    -subj /CN=www.example.test -addext subjectAltName=DNS:www.example.test -out good.csr`);

/** The command ends with this error code, says why, and no certificate came of it. */
async function refused(script: string, code: ErrorCode, why: RegExp): Promise<void> {
  const before = await count();
  const ran = await runScript(installation, `${script} --json`, { environment });
  assert.notEqual(ran.code, 0, script);
  const { error } = JSON.parse(ran.stderr) as { error: { code: string; message: string } };
  assert.equal(error.code, code, `${script}: ${error.message}`);
  assert.match(error.message, why, script);
  assert.equal(await count(), before, 'nothing was issued');
}

async function count(): Promise<number> {
  const { items, next } = await client.call('certificate.list', { query: {} });
  assert.equal(next, null, 'all of them');
  return items.length;
}

const issue = 'keyreeve cert issue --ca sub --profile tls-server --out refused.crt';

test('a request whose signature is not by its key', async () => {
  // The last byte belongs to the signature.
  await must('openssl req -in good.csr -outform DER -out broken.der');
  const der = readFileSync(file('broken.der'));
  der[der.length - 1]! ^= 1;
  writeFileSync(file('broken.der'), der);
  await must('openssl req -inform DER -in broken.der -out broken.csr');
  await refused(`${issue} --csr broken.csr`, 'request-signature-invalid', /signature|signed/);
});

test('weak keys', async () => {
  for (const [name, options] of [
    ['rsa-1024', '-newkey rsa:1024'],
    ['exponent-3', '-newkey rsa:2048 -pkeyopt rsa_keygen_pubexp:3'],
  ]) {
    await must(`openssl req -new ${options} -nodes -keyout ${name}.key -subj /CN=www.example.test \
      -addext subjectAltName=DNS:www.example.test -out ${name}.csr`);
    await refused(`${issue} --csr ${name}.csr`, 'public-key-refused', /./);
  }
});

test('a key on the list of blocked ones, or of a certificate that was revoked for its compromise', async () => {
  await must(`openssl req -new -newkey ed25519 -nodes -keyout blocked.key -subj /CN=b.example.test \
      -addext subjectAltName=DNS:b.example.test -out blocked.csr
    openssl pkey -in blocked.key -pubout -out blocked.pub
    keyreeve cert block-key blocked.pub --reason 'found on a laptop'`);
  await refused(`${issue} --csr blocked.csr`, 'public-key-refused', /blocked|refused/);

  await must(`openssl req -new -newkey ed25519 -nodes -keyout lost.key -subj /CN=l.example.test \
      -addext subjectAltName=DNS:l.example.test -out lost.csr
    keyreeve cert issue --ca sub --profile tls-server --csr lost.csr --out lost.crt
    keyreeve cert revoke "$(openssl x509 -in lost.crt -noout -serial | cut -d= -f2)" --reason keyCompromise`);
  await refused(`${issue} --csr lost.csr`, 'public-key-refused', /compromise|blocked/i);
});

test('a key that another subject uses', async () => {
  await must('keyreeve cert issue --ca sub --profile tls-server --csr good.csr --out good.crt');
  await must(`openssl req -new -key good.key -subj /CN=other.example.test \
      -addext subjectAltName=DNS:other.example.test -out other.csr`);
  await refused(`${issue} --csr other.csr`, 'public-key-refused', /another|in use/);
  // The same subject renews.
  await must('keyreeve cert issue --ca sub --profile tls-server --csr good.csr --out again.crt');
});

test('a name outside the constraints', async () => {
  for (const name of ['www.elsewhere.test', 'www.secret.example.test', 'example.test.evil.test']) {
    await must(`openssl req -new -key good.key -subj /CN=${name} \
      -addext subjectAltName=DNS:${name} -out outside.csr`);
    await refused(`${issue} --csr outside.csr`, 'subject-not-allowed', /constraint|permit|exclude/);
  }
});

test('a path that would be too long', async () => {
  await refused(
    `keyreeve ca create too-deep --parent sub --algorithm p-256 --subject 'CN=Too deep'`,
    'path-length-exceeded',
    /path/,
  );
  await must(
    `openssl req -new -newkey ed25519 -nodes -keyout deep.key -subj '/CN=Foreign CA' -out deep.csr`,
  );
  await refused(
    'keyreeve cert issue --ca sub --profile intermediate --csr deep.csr --out refused.crt',
    'path-length-exceeded',
    /path/,
  );
});

test('a validity beyond the CA', async () => {
  await refused(`${issue} --csr good.csr --validity 25d`, 'validity-not-allowed', /./);
  await refused(
    `keyreeve ca create long --parent root --algorithm p-256 --subject 'CN=Long' --validity 40d`,
    'validity-not-allowed',
    /./,
  );
});

test('a CA key does not sign what callers bring', async () => {
  await must('echo message > message');
  await refused('keyreeve sign root --in message --out refused.sig', 'purpose-not-allowed', /ca/);
  await refused('keyreeve key rotate root', 'purpose-not-allowed', /./);
  await refused('keyreeve key destroy root --yes', 'ca-in-use', /still valid/);
});

test('a request that asks for more than the profile gives', async () => {
  await must(`openssl req -new -key good.key -subj /CN=www.example.test \
    -addext subjectAltName=DNS:www.example.test -addext basicConstraints=critical,CA:TRUE -out ca.csr`);
  await refused(`${issue} --csr ca.csr`, 'profile-not-allowed', /CA|basicConstraints/);
});
