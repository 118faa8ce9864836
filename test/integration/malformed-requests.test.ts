import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { errorCodes } from '../../api/error-codes.ts';
import { malformationNames, malformations, mutations } from '../malformed-der.ts';
import { startLoggedIn } from '../service.ts';
import { requireProgram } from '../tools.ts';

const { client, service } = await startLoggedIn({ after });
await client.call('ca.create', {
  body: { name: 'root', subject: 'CN=Root', algorithm: 'ed25519' },
});
const seed = 20_261_122;
const randomChanges = 300;

/** The request of `openssl req`, and what comes of it here: the code of the refusal, or `issued`. */
const make = () =>
  execFileSync(
    'openssl',
    'req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /CN=w.test -addext subjectAltName=DNS:w.test -outform DER'.split(
      ' ',
    ),
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );

async function outcome(der: Buffer): Promise<string> {
  const body = { ca: 'root', profile: 'tls-server', csr: der.toString('base64') };
  try {
    await client.call('certificate.issue', { body });
    return 'issued';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

for (const name of malformationNames) {
  test(`a request is refused with a reason and nothing is issued: ${name}`, async (t) => {
    if (requireProgram(t, 'openssl') === undefined) return;
    const good = make();
    const before = await client.call('certificate.list', { query: { limit: 500 } });
    const code = await outcome(malformations[name](good));
    assert.ok(['request-malformed', 'public-key-refused'].includes(code), code);
    const behind = await client.call('certificate.list', { query: { limit: 500 } });
    assert.equal(behind.items.length, before.items.length);
  });
}

test('random changes of a request are issued for never, and are never an unexpected error', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const codes = new Map<string, number>();
  const good = [make(), make()];
  for (const { name, bytes } of mutations(good, randomChanges, seed)) {
    if (good.some((der) => der.equals(bytes))) continue;
    const code = await outcome(bytes);
    assert.notEqual(code, 'issued', `${name}: ${bytes.toString('hex')}`);
    const status = errorCodes[code as keyof typeof errorCodes]?.status;
    assert.equal(status, 400, `${name}: ${code}: ${bytes.toString('hex')}`);
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  assert.ok(codes.get('request-malformed')! > randomChanges / 3, [...codes].join(' '));
  assert.equal(await outcome(make()), 'issued', 'the service goes on');
  assert.equal(service.output().includes('"level":50'), false, service.output());
});
