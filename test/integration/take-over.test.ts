import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeInstallation, startService } from '../service.ts';
import { logInByCommand, mustRun } from '../shell.ts';
import { requireProgram } from '../tools.ts';

const installation = makeInstallation({ after });
const must = async (script: string) =>
  (await mustRun(installation, `set -e\n${script}`)).stdout.toString();
const issued = 1000;
const revoked = 40;

/** The small CA as the manual page of `openssl ca` sets it up. */
const configuration = `
[ca]
default_ca = small
[small]
dir = ./small
database = $dir/index.txt
new_certs_dir = $dir/newcerts
certificate = $dir/cacert.pem
private_key = $dir/private/cakey.pem
serial = $dir/serial
crlnumber = $dir/crlnumber
default_days = 365
default_md = sha256
default_crl_days = 30
policy = anything
unique_subject = no
copy_extensions = none
x509_extensions = leaf
[anything]
commonName = supplied
[leaf]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[req]
distinguished_name = dn
x509_extensions = authority
[dn]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
`;

test('the small CA of openssl is taken over with all it issued and revoked', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  mkdirSync(join(installation.folder, 'small', 'newcerts'), { recursive: true });
  mkdirSync(join(installation.folder, 'small', 'private'));
  writeFileSync(join(installation.folder, 'ca.cnf'), configuration);
  // The first openssl process signs them all: one request, a thousand serial numbers.
  await must(`
    echo 1000 > small/serial; echo 2A > small/crlnumber; : > small/index.txt
    openssl req -config ca.cnf -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/C=DE/O=Small/CN=Small CA' \
      -keyout small/private/cakey.pem -out small/cacert.pem
    chmod 600 small/private/cakey.pem
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout leaf.key \
      -subj /CN=leaf -out leaf.csr
    openssl ca -config ca.cnf -batch -notext -infiles $(yes leaf.csr | head -n ${issued})
    reasons=(keyCompromise superseded affiliationChanged cessationOfOperation)
    for number in $(seq 0 ${revoked - 1}); do
      serial=$(printf %04X $((0x1000 + number * 7)))
      openssl ca -config ca.cnf -revoke small/newcerts/$serial.pem -crl_reason \${reasons[$((number % 4))]}
    done
    openssl ca -config ca.cnf -gencrl -out before.crl`);

  await logInByCommand(installation, await startService({ after }, installation));
  await must(`
    keyreeve ca import small --openssl-ca small
    keyreeve crl get --ca small --out after.crl
    openssl crl -in after.crl -CAfile small/cacert.pem -noout`);
  assert.equal(await crlNumber('before.crl'), 0x2a);
  assert.equal(await crlNumber('after.crl'), 0x2b, 'the next number, without a gap');
  assert.equal(await entries('after.crl'), await entries('before.crl'));
  assert.equal((await entries('after.crl')).split('Serial Number').length - 1, revoked);

  const { counts } = JSON.parse(await must('keyreeve ca show small --json'));
  // Its own certificate is one that it signed.
  assert.deepEqual(counts, { valid: issued - revoked + 1, revoked, expired: 0 });
  await must(`
    keyreeve cert show 1000 --ca small --out first.crt
    cmp <(openssl x509 -in first.crt -outform DER) <(openssl x509 -in small/newcerts/1000.pem -outform DER)`);

  // It goes on here: what is issued and revoked from now on is as openssl would have it.
  await must(`
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout new.key -subj /CN=new.example.test \
      -addext subjectAltName=DNS:new.example.test -out new.csr
    keyreeve cert issue --ca small --profile tls-server --csr new.csr --out new.crt
    openssl verify -x509_strict -CAfile small/cacert.pem new.crt
    keyreeve cert revoke 1001 --ca small --reason superseded
    keyreeve crl get --ca small --out later.crl`);
  assert.equal(await crlNumber('later.crl'), 0x2c);
  assert.match(await entries('later.crl'), /Serial Number: 1001/);
  // Again, as after an interruption: everything is known, and nothing changes.
  const again = await must('keyreeve ca import small --openssl-ca small 2>&1 || true');
  assert.match(again, /already/);
});

async function crlNumber(name: string): Promise<number> {
  const text = await must(`openssl crl -in ${name} -noout -crlnumber`);
  return Number.parseInt(/=(?:0x)?([0-9A-Fa-f]+)/.exec(text)![1]!, 16);
}

/** Serial numbers, dates and reasons, as openssl prints them. */
async function entries(name: string): Promise<string> {
  const text = await must(`openssl crl -in ${name} -noout -text`);
  const list = text.slice(
    text.indexOf('Revoked Certificates'),
    text.indexOf('Signature Algorithm', 400),
  );
  return list
    .split(/(?=\s+Serial Number)/)
    .map((entry) => entry.trim())
    .sort()
    .join('\n');
}
