import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startNginx } from '../nginx.ts';
import { makeInstallation, startService } from '../service.ts';
import { logInByCommand, mustRun, runScript } from '../shell.ts';
import { requireProgram } from '../tools.ts';

// One service for the whole file.
const installation = makeInstallation({ after }, { KEYREEVE_PKI_URL: 'http://pki.example.test' });
const service = await startService({ after }, installation);
await logInByCommand(installation, service);
const { folder } = installation;
const file = (name: string) => join(folder, name);
const must = async (script: string) =>
  (await mustRun(installation, `set -e\n${script}`)).stdout.toString();

/** Root and a CA below it, for `example.test` and the machine itself alone. */
const hierarchy = must(`
  keyreeve ca create ca/root --algorithm p-256 --subject 'CN=Example Root,O=Example'
  keyreeve ca create ca/tls --parent ca/root --algorithm p-256 --path-length 0 \
    --subject 'CN=Example TLS,O=Example' --permit dns:example.test --permit ip:127.0.0.0/8
  keyreeve ca chain ca/root > root.pem
  keyreeve ca chain ca/tls > chain.pem`);

test('a CSR of openssl becomes a certificate that openssl and GnuTLS accept', async (t) => {
  const certtool = requireProgram(t, 'certtool');
  if (certtool === undefined) return;
  await hierarchy;
  await must(`
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout www.key \
      -subj /CN=www.example.test -addext subjectAltName=DNS:www.example.test,IP:127.0.0.1 -out www.csr
    keyreeve cert issue --ca ca/tls --profile tls-server --csr www.csr --out www.crt
    cat www.crt chain.pem > www.chain.pem`);
  const verified = await must(`
    openssl verify -x509_strict -purpose sslserver -verify_hostname www.example.test \
      -CAfile root.pem -untrusted chain.pem www.crt
    certtool --verify --verify-hostname www.example.test --verify-purpose 1.3.6.1.5.5.7.3.1 \
      --load-ca-certificate root.pem --infile www.chain.pem`);
  assert.match(verified, /www\.crt: OK/);
  assert.match(verified, /Chain verification output: Verified\./);
  const shown = await must('openssl x509 -in www.crt -noout -text');
  assert.match(shown, /URI:http:\/\/pki\.example\.test\/crl\/[0-9a-f]{40}\.crl/);
  assert.match(shown, /CA Issuers - URI:http:\/\/pki\.example\.test\/ca\/[0-9a-f]{40}\.crt/);
});

test('CRL and CA certificate are served where the certificates say', async () => {
  await hierarchy;
  const shown = await must(`
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout aia.key \
      -subj /CN=aia.example.test -addext subjectAltName=DNS:aia.example.test -out aia.csr
    keyreeve cert issue --ca ca/tls --profile tls-server --csr aia.csr --out aia.crt
    openssl x509 -in aia.crt -noout -text`);
  const [, crl] = /URI:http:\/\/pki\.example\.test(\/crl\/\S+)/.exec(shown)!;
  const [, issuer] = /URI:http:\/\/pki\.example\.test(\/ca\/\S+)/.exec(shown)!;
  const get = async (path: string) => {
    const answer = await fetch(`${service.httpUrl}${path}`);
    assert.equal(answer.status, 200);
    return Buffer.from(await answer.arrayBuffer());
  };
  writeFileSync(file('served.crl'), await get(crl!));
  writeFileSync(file('served.crt'), await get(issuer!));
  await must(`
    openssl x509 -inform DER -in served.crt -out served.pem
    openssl verify -CAfile root.pem served.pem
    openssl crl -inform DER -in served.crl -CAfile served.pem -noout
    openssl verify -crl_check -partial_chain -trusted served.pem -CRLfile <(openssl crl -inform DER -in served.crl) aia.crt`);
  const other = await fetch(`${service.httpUrl}/api/v1/status`);
  assert.equal(other.status, 404);
});

test('a client certificate works at nginx and here until it is revoked', async (t) => {
  if (requireProgram(t, 'curl') === undefined) return;
  await hierarchy;
  await must(`
    openssl req -new -newkey rsa:2048 -nodes -keyout site.key -subj /CN=site.example.test \
      -addext subjectAltName=DNS:site.example.test,IP:127.0.0.1 -out site.csr
    keyreeve cert issue --ca ca/tls --profile tls-server --csr site.csr --out site.crt --chain site.above.pem
    cat site.crt site.above.pem > site.pem
    keyreeve cert request --new-key client.key --subject 'CN=svc' --name dns:svc.example.test --out client.csr
    keyreeve cert issue --ca ca/tls --profile tls-client --csr client.csr --out client.crt --chain client.above.pem
    cat client.crt client.above.pem > client.pem
    keyreeve principal create svc --kind service --role key-user
    keyreeve principal bind svc --ca ca/tls --dns svc.example.test
    keyreeve crl get --ca ca/root --out root.crl
    keyreeve crl get --ca ca/tls --out tls.crl
    cat root.crl tls.crl > all.crl`);
  const nginx = await startNginx(t, folder, [
    `ssl_certificate ${file('site.pem')}`,
    `ssl_certificate_key ${file('site.key')}`,
    `ssl_client_certificate ${file('root.pem')}`,
    'ssl_verify_client on',
    'ssl_verify_depth 3',
    `ssl_crl ${file('all.crl')}`,
  ]);
  if (nginx === undefined) return;
  const curl = `curl -sS -w '%{http_code}' --cacert root.pem https://127.0.0.1:${nginx.port}/`;
  assert.match(await must(`${curl} --cert client.pem --key client.key`), /served CN=svc\n200$/);
  assert.match(await must(curl), /400$/, 'without a certificate');

  const here = kept();
  t.after(() => here.close());
  assert.deepEqual(await here.get('/api/v1/principals/me'), { status: 200, name: 'svc' });

  await must(`
    serial=$(openssl x509 -in client.crt -noout -serial | cut -d= -f2)
    keyreeve cert revoke "$serial" --reason keyCompromise`);
  assert.equal((await here.get('/api/v1/principals/me')).status, 401, 'on the next request');
  assert.equal(here.connections(), 1, 'the same connection');

  assert.match(await must(`${curl} --cert client.pem --key client.key`), /200$/, 'the old CRL');
  await must('keyreeve crl get --ca ca/tls --out tls.crl && cat root.crl tls.crl > all.crl');
  await nginx.reload();
  const refused = await runScript(installation, `${curl} --cert client.pem --key client.key`);
  assert.match(refused.stdout.toString(), /400$/);
  assert.match(nginx.log(), /certificate revoked/);
  assert.match(
    await must('openssl crl -in tls.crl -noout -text'),
    /Serial Number: [0-9A-F]+\n\s+Revocation Date: .*\n\s+CRL entry extensions:\n\s+X509v3 CRL Reason Code: \n\s+Key Compromise/,
  );
});

/** One connection to the service with the client's certificate and nothing else. */
function kept() {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ca: readFileSync(join(installation.data, 'tls', 'ca.pem')),
    cert: readFileSync(file('client.pem')),
    key: readFileSync(file('client.key')),
  });
  const sockets = new Set<unknown>();
  return {
    connections: () => sockets.size,
    close: () => agent.destroy(),
    get: (path: string) =>
      new Promise<{ status: number; name?: string }>((resolve, reject) => {
        const call = request(`${service.url}${path}`, { agent }, (answer) => {
          sockets.add(answer.socket);
          const pieces: Buffer[] = [];
          answer.on('data', (piece: Buffer) => pieces.push(piece));
          answer.on('end', () => {
            const { name } = JSON.parse(Buffer.concat(pieces).toString('utf8'));
            resolve({ status: answer.statusCode!, ...(name === undefined ? {} : { name }) });
          });
        });
        call.on('error', reject).end();
      }),
  };
}
