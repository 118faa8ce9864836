import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import {
  type Certificate,
  certificatePem,
  type Extensions,
  encodeName,
  keyIdentifier,
  type NameConstraints,
  parseGeneralName,
  parseName,
} from '../../x509/x509.ts';
import { checkNames } from './name-constraints.ts';
import { checkPath, isSelfIssued } from './plan-path.ts';
import {
  authorityBelow,
  builtIn,
  constraints,
  issuerFacts,
  keyPair,
  now,
  numbers,
  planned,
  rootAuthority,
  signed,
  wanted,
} from './rules.fixture.ts';

const cases = 400;
const seed = 0x5eed_2026;
/** One for each place in a chain, so that a self-issued certificate has its own. */
const keys = Array.from({ length: 6 }, () => keyPair());

/** Names and constraints that meet often. Where this product is stricter than OpenSSL is left out. */
const constraintTexts = [
  'dns:example.org',
  'dns:.example.org',
  'dns:www.example.org',
  'dns:org',
  'dns:example.com',
  'ip:10.0.0.0/8',
  'ip:10.1.2.0/23',
  'ip:2001:db8::/32',
  'email:example.org',
  'email:.example.org',
  'email:ada@example.org',
  'uri:example.org',
  'uri:.example.org',
  'dn:O=Example',
  'dn:O=example,C=DE',
  'dn:OU=Two  Words,O=Example',
];
const excludedTexts = constraintTexts.filter((text) => text !== 'dns:.example.org');
const nameTexts = [
  'dns:example.org',
  'dns:www.example.org',
  'dns:a.b.example.org',
  'dns:badexample.org',
  'dns:example.com',
  'dns:localhost',
  'ip:10.1.2.3',
  'ip:10.1.4.0',
  'ip:192.0.2.1',
  'ip:2001:db8::1',
  'ip:2001:db9::1',
  'email:ada@example.org',
  'email:bob@example.org',
  'email:ada@mail.example.org',
  'email:ada@example.com',
  'uri:https://example.org/x',
  'uri:https://www.example.org:8443/',
  'uri:spiffe://example.com/service',
];
const subjectTexts = [
  'O=Example',
  'O=EXAMPLE,C=DE',
  'O=Example,C=DE',
  'OU=two words,O=Example',
  'O=Other,C=DE',
  'CN=www.example.org,O=Example',
  'CN=www.example.com,O=Example',
  'CN=Ada,O=Example',
  'emailAddress=ada@example.org,O=Example',
  'emailAddress=ada@example.com,O=Example',
];

type Draw = ReturnType<typeof numbers>;
const pick = <Item>(draw: Draw, items: readonly Item[]): Item => items[draw(items.length)]!;
const some = <Item>(draw: Draw, items: readonly Item[], most: number): readonly Item[] =>
  Array.from({ length: draw(most + 1) }, () => pick(draw, items));

function drawnConstraints(draw: Draw): NameConstraints | undefined {
  if (draw(3) > 0) return undefined;
  const drawn = constraints(some(draw, constraintTexts, 3), some(draw, excludedTexts, 2));
  return drawn.permitted.length + drawn.excluded.length === 0 ? undefined : drawn;
}

function authorityExtensions(draw: Draw): Extensions {
  const nameConstraints = drawnConstraints(draw);
  const pathLength = draw(2) === 0 ? draw(3) : undefined;
  return {
    basicConstraints: { isAuthority: true, ...(pathLength === undefined ? {} : { pathLength }) },
    keyUsage: ['keyCertSign', 'cRLSign'],
    ...(nameConstraints === undefined ? {} : { nameConstraints }),
  };
}

/** The certificate of a key at a place of the chain, by the certificate above it. */
function certificate(
  place: number,
  subject: Buffer,
  extensions: Extensions,
  above?: Certificate,
): Certificate {
  const key = keys[place]!;
  const by = above === undefined ? key : keys[place - 1]!;
  return signed(
    {
      serial: Buffer.from([place + 1]),
      scheme: 'ecdsa-sha256',
      issuer: above?.subject ?? subject,
      subject,
      notBefore: Math.floor(now / 1000) * 1000 - 3_600_000,
      notAfter: Math.floor(now / 1000) * 1000 + 3_600_000,
      spki: key.spki,
      extensions: {
        ...extensions,
        subjectKeyId: keyIdentifier(key.spki),
        authorityKeyId: keyIdentifier(by.spki),
      },
    },
    by,
  );
}

/** From the leaf up to the root. */
function drawnChain(draw: Draw, number: number): readonly Certificate[] {
  const root = encodeName(parseName(`CN=Root ${number},O=Example,C=DE`));
  let chain = [certificate(0, root, authorityExtensions(draw))];
  const depth = draw(4);
  for (let place = 1; place <= depth; place++) {
    const own = encodeName(parseName(`CN=CA ${number} at ${place},O=Example,C=DE`));
    const subject = draw(5) === 0 ? chain[0]!.subject : own;
    chain = [certificate(place, subject, authorityExtensions(draw), chain[0]), ...chain];
  }
  const names = some(draw, nameTexts, 3).map((text) => parseGeneralName(text));
  const subject = encodeName(parseName(pick(draw, subjectTexts)));
  const extensions = names.length === 0 ? {} : { subjectAltNames: names };
  return [certificate(depth + 1, subject, extensions, chain[0]), ...chain];
}

/** Every certificate of the chain is held to those above it, as RFC 5280, section 6.1 says. */
function ourVerdict(chain: readonly Certificate[]): string {
  try {
    for (const [index, { subjectName, extensions, ...rest }] of chain.entries()) {
      if (index > 0 && isSelfIssued(rest)) continue;
      const names = extensions.subjectAltNames ?? [];
      checkNames({ subject: subjectName, names }, chain.slice(index + 1));
    }
    checkPath(chain.slice(1));
    return 'OK';
  } catch (error) {
    if (!isKeyreeveError(error)) throw error;
    return error.code;
  }
}

test('names and path lengths of hundreds of chains are judged as OpenSSL judges them', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const draw = numbers(seed);
  const chains = Array.from({ length: cases }, (_, number) => drawnChain(draw, number));
  const folder = mkdtempSync(join(tmpdir(), 'chains-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const pems = (list: readonly Certificate[]) =>
    list.map(({ der }) => certificatePem(der)).join('');
  writeFileSync(join(folder, 'roots.pem'), pems(chains.map((chain) => chain.at(-1)!)));
  writeFileSync(join(folder, 'middle.pem'), pems(chains.flatMap((chain) => chain.slice(1, -1))));
  const files = chains.map(([leaf], number) => {
    writeFileSync(join(folder, `${number}.pem`), pems([leaf!]));
    return `${number}.pem`;
  });
  const time = String(Math.floor(now / 1000));
  const trusted = ['-CAfile', 'roots.pem', '-untrusted', 'middle.pem', '-attime', time];
  const { stdout, stderr } = spawnSync(openssl, ['verify', ...trusted, ...files], {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const accepted = new Set(stdout.match(/^\d+(?=\.pem: OK$)/gm)?.map(Number) ?? []);
  // 25: path length; 47 and 48: permitted and excluded names. Other errors would prove nothing.
  const errors = new Set(
    [...`${stdout}${stderr}`.matchAll(/^error (\d+) at/gm)].map((hit) => hit[1]),
  );
  assert.deepEqual([...errors].sort(), ['25', '47', '48']);
  const verdicts = chains.map(ourVerdict);
  for (const [number, verdict] of verdicts.entries()) {
    assert.equal(verdict === 'OK', accepted.has(number), `chain ${number}: ${verdict}`);
  }
  for (const verdict of ['OK', 'subject-not-allowed', 'path-length-exceeded']) {
    assert.ok(verdicts.filter((found) => found === verdict).length > cases / 20, verdict);
  }
});

test('what is planned by each profile passes the strict checks of OpenSSL', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const root = rootAuthority();
  const permitted = ['dns:example.org', 'ip:192.0.2.0/24', 'email:example.org', 'uri:example.org'];
  const middle = authorityBelow(root, 'CN=Middle,O=Example,C=DE', {
    pathLength: 0,
    nameConstraints: constraints([...permitted, 'dn:O=Example,C=DE']),
  });
  const folder = mkdtempSync(join(tmpdir(), 'planned-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (name: string, { der }: Certificate) =>
    writeFileSync(join(folder, name), certificatePem(der));
  write('root', root.chain[0]!);
  write('middle', middle.chain[0]!);
  const names = [
    'dns:www.example.org',
    'ip:192.0.2.1',
    'email:ada@example.org',
    'uri:https://example.org/x',
  ];
  for (const [name, purpose] of purposes) {
    const profile = builtIn(name);
    const allowed = names.filter((text) =>
      profile.names.allowed.some((kind) => text.startsWith(kind)),
    );
    for (const subject of ['CN=www.example.org,O=Example,C=DE', '']) {
      if (subject === '' && (allowed.length === 0 || profile.subject.required.length > 0)) continue;
      const fields = planned(profile, issuerFacts(middle), wanted(subject, allowed));
      write('leaf', signed(fields, middle.key));
      const at = ['-attime', String(Math.floor(now / 1000))];
      const chain = ['-CAfile', 'root', '-untrusted', 'middle', 'leaf'];
      const verified: SpawnSyncReturns<string> = spawnSync(
        openssl,
        ['verify', '-x509_strict', '-purpose', purpose, ...at, ...chain],
        { cwd: folder, encoding: 'utf8' },
      );
      assert.equal(verified.stdout, 'leaf: OK\n', `${name} (${subject}): ${verified.stderr}`);
    }
  }
});

/** What OpenSSL calls the uses of the built-in profiles; for some it has no word. */
const purposes = [
  ['tls-server', 'sslserver'],
  ['tls-client', 'sslclient'],
  ['tls-peer', 'sslserver'],
  ['tls-peer', 'sslclient'],
  ['email', 'smimesign'],
  ['timestamping', 'timestampsign'],
  ['ocsp-signing', 'ocsphelper'],
  ['code-signing', 'any'],
  ['document-signing', 'any'],
] as const;
