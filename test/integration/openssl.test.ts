import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { type AlgorithmName, algorithms, schemesFor } from '../../api/algorithms.ts';
import { type SchemeName, schemes } from '../../api/schemes.ts';
import { startLoggedIn } from '../service.ts';
import { mustRun, runScript } from '../shell.ts';
import { findProgram, run } from '../tools.ts';

const page = readFileSync(
  join(dirname(dirname(import.meta.dirname)), 'docs', 'openssl.md'),
  'utf8',
);
const schemeNames = Object.keys(schemes) as SchemeName[];
const openssl = findProgram('openssl');
/** The first release that knows ML-DSA, SLH-DSA and ML-KEM. */
const postQuantumRelease = 3.5;

// One service for the whole file.
const { installation, service, client, login } = await startLoggedIn({ after });
const caFile = join(installation.folder, 'ca.pem');
writeFileSync(caFile, login.caPem);
Object.assign(installation.environment, {
  KEYREEVE_URL: service.url,
  KEYREEVE_TOKEN: login.token,
  KEYREEVE_CA_FILE: caFile,
});

/** The fenced lines of the section of a scheme, in order. */
function linesFor(scheme: SchemeName): string[] {
  for (const section of page.split(/^#{2,3} /m)) {
    const names = (section.split('\n')[0] ?? '').split(', ');
    const isIts = names.some((name) =>
      name.endsWith('*') ? scheme.startsWith(name.slice(0, -1)) : name === scheme,
    );
    if (isIts) return [...section.matchAll(/```sh\n(.*?)```/gs)].map((match) => match[1]!);
  }
  return [];
}

/** A folder of its own for a scheme, with a message in it. */
function folderFor(name: string): { folder: string; at: (file: string) => string } {
  const folder = join(installation.folder, name);
  mkdirSync(folder);
  const at = (file: string) => join(folder, file);
  writeFileSync(at('message.bin'), `a message for ${name}\n`);
  return { folder, at };
}

/** Changes one bit at the end of a file: still the same length and, for DER, the same form. */
function alter(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(path, bytes);
}

const release = /^OpenSSL ([0-9]+\.[0-9]+)/.exec(run(openssl!, ['version']).toString())?.[1];
const knowsPostQuantum = Number(release) >= postQuantumRelease;
const needsNew = (scheme: SchemeName) => /^(ml-dsa|slh-dsa)/.test(scheme);
const canBeTried = (scheme: SchemeName) => knowsPostQuantum || !needsNew(scheme);

test('the page has a line for every scheme, or says that there is none', () => {
  const without = page.slice(page.indexOf('## Without a line'), page.indexOf('## Data that is'));
  for (const scheme of schemeNames) {
    const isThere = linesFor(scheme).length > 0;
    assert.notEqual(isThere, without.includes(`\`${scheme}\``), scheme);
  }
});

/** Every algorithm that signs with the scheme; of RSA, whose sizes differ in nothing else, one. */
function signersWith(scheme: SchemeName): AlgorithmName[] {
  const names = Object.keys(algorithms) as AlgorithmName[];
  return names
    .filter((name) => schemesFor(name, 'sign').includes(scheme))
    .filter((name) => !name.startsWith('rsa-') || name === 'rsa-2048');
}

type MacName = 'hmac-sha256' | 'hmac-sha384' | 'hmac-sha512';
const isMac = (name: SchemeName): name is MacName => schemes[name].act === 'mac';
const signatureSchemes = schemeNames.filter((name) => schemes[name].act === 'sign');

/** Makes a key and a signature, and leaves `key.pub` and `message.sig` in a folder. */
async function signedBy(scheme: SchemeName, algorithm: AlgorithmName) {
  const made = folderFor(`${scheme}-${algorithm}`);
  const key = `signing/${scheme}-${algorithm}`;
  const body = { name: key, algorithm, purpose: 'sign' as const, schemes: [scheme] };
  await client.call('key.create', { body });
  const { versions } = await client.call('key.public', { params: { key } });
  writeFileSync(made.at('key.pub'), versions[0]!.publicKey!);
  const sign = `keyreeve sign ${key} --in message.bin --out message.sig --scheme ${scheme}`;
  await mustRun(installation, sign, made);
  return made;
}

if (!knowsPostQuantum) {
  test('an openssl before 3.5 does not verify ML-DSA and SLH-DSA, as the page says', async () => {
    for (const scheme of ['ml-dsa-44', 'slh-dsa-sha2-128f'] as const) {
      const { folder } = await signedBy(scheme, scheme);
      assert.notEqual((await runScript(installation, linesFor(scheme)[0]!, { folder })).code, 0);
    }
    assert.match(page, /need OpenSSL 3\.5 or later/);
  });
}

describe('openssl accepts what is genuine and refuses what was altered', { concurrency: 2 }, () => {
  for (const scheme of signatureSchemes.filter(canBeTried)) {
    for (const algorithm of signersWith(scheme)) {
      test(`${scheme} by ${algorithm}`, async () => {
        const { folder, at } = await signedBy(scheme, algorithm);
        const [line = ''] = linesFor(scheme);
        await mustRun(installation, line, { folder });
        alter(at('message.bin'));
        assert.notEqual((await runScript(installation, line, { folder })).code, 0, 'message');
        alter(at('message.bin'));
        alter(at('message.sig'));
        assert.notEqual((await runScript(installation, line, { folder })).code, 0, 'signature');
      });
    }
  }

  for (const scheme of schemeNames.filter(isMac)) {
    test(scheme, async () => {
      const { folder, at } = folderFor(scheme);
      const secret = randomBytes(schemes[scheme].hashBytes);
      writeFileSync(at('key.bin'), secret);
      writeFileSync(at('key.hex'), secret.toString('hex'));
      const made = await mustRun(
        installation,
        `keyreeve key import ${scheme} --algorithm ${scheme} --purpose mac --in key.bin &&
         keyreeve mac ${scheme} --in message.bin`,
        { folder },
      );
      const line = linesFor(scheme)[0]!;
      const code = async () =>
        (await mustRun(installation, line, { folder })).stdout.toString().toLowerCase();
      assert.equal(await code(), made.stdout.toString());
      alter(at('message.bin'));
      assert.notEqual(await code(), made.stdout.toString());
    });
  }
});

const unwrapped = 'message.dec';

describe('openssl and the service open what the other encrypted', { concurrency: 2 }, () => {
  for (const scheme of schemeNames.filter((name) => name.startsWith('rsa-oaep'))) {
    test(scheme, async () => {
      const { folder, at } = folderFor(scheme);
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      writeFileSync(at('key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
      await mustRun(
        installation,
        `keyreeve key import ${scheme} --algorithm rsa-2048 --purpose encrypt --scheme ${scheme} \\
           --in key.pem && keyreeve key public ${scheme} --out key.pub`,
        { folder },
      );
      const [encrypt = '', decrypt = ''] = linesFor(scheme);
      const open = `keyreeve decrypt ${scheme} --raw --in message.enc --out -`;
      const opened = await mustRun(installation, `${encrypt}\n${open}`, { folder });
      assert.deepEqual(opened.stdout, readFileSync(at('message.bin')));
      alter(at('message.enc'));
      assert.equal((await runScript(installation, open, { folder })).code, 1);
      const seal = `keyreeve encrypt ${scheme} --raw --force --in message.bin --out message.enc`;
      await mustRun(installation, `${seal} && ${decrypt}`, { folder });
      assert.deepEqual(readFileSync(at(unwrapped)), readFileSync(at('message.bin')));
      alter(at('message.enc'));
      assert.notEqual((await runScript(installation, decrypt, { folder })).code, 0);
    });
  }

  test('aes-kwp', async () => {
    const { folder, at } = folderFor('aes-kwp');
    const secret = randomBytes(32);
    writeFileSync(at('key.bin'), secret);
    writeFileSync(at('key.hex'), secret.toString('hex'));
    const making = 'keyreeve key import wrap/aes --algorithm aes-256 --purpose wrap --in key.bin';
    await mustRun(installation, making, { folder });
    const [wrap = '', unwrap = ''] = linesFor('aes-kwp');
    const open = 'keyreeve unwrap wrap/aes --in message.wrapped --out -';
    const opened = await mustRun(installation, `${wrap}\n${open}`, { folder });
    assert.deepEqual(opened.stdout, readFileSync(at('message.bin')));
    alter(at('message.wrapped'));
    assert.equal((await runScript(installation, open, { folder })).code, 1);
    const seal = 'keyreeve wrap wrap/aes --force --in message.bin --out message.wrapped';
    await mustRun(installation, `${seal} && ${unwrap}`, { folder });
    assert.deepEqual(readFileSync(at(unwrapped)), readFileSync(at('message.bin')));
    alter(at('message.wrapped'));
    assert.notEqual((await runScript(installation, unwrap, { folder })).code, 0);
  });

  test('rsa-aes-kwp, and the key so wrapped is taken in', async () => {
    const { folder, at } = folderFor('rsa-aes-kwp');
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeFileSync(at('message.bin'), privateKey.export({ format: 'der', type: 'pkcs8' }));
    await mustRun(
      installation,
      `keyreeve key create wrap/rsa --algorithm rsa-2048 --purpose wrap &&
       keyreeve key public wrap/rsa --out key.pub\n${linesFor('rsa-aes-kwp')[0]!}`,
      { folder },
    );
    const take = (name: string) =>
      `keyreeve key import ${name} --algorithm p-256 --purpose sign --wrapped \\
         --wrapping-key wrap/rsa --in message.wrapped`;
    await mustRun(installation, `${take('taken')} && keyreeve key public taken --out taken.pub`, {
      folder,
    });
    const spki = run(openssl!, ['pkey', '-pubout'], pemOf(at('message.bin')));
    assert.equal(readFileSync(at('taken.pub'), 'utf8'), spki.toString());
    alter(at('message.wrapped'));
    const refused = await runScript(installation, take('other'), { folder });
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /^error: /);
  });

  for (const [algorithm, options] of [
    ['p-256', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['p-521', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521']],
    ['x25519', ['-algorithm', 'X25519']],
  ] as const) {
    test(`ecdh with ${algorithm}`, async () => {
      const { folder, at } = folderFor(`ecdh-${algorithm}`);
      run(openssl!, ['genpkey', ...options, '-out', at('key.pem')]);
      run(openssl!, ['pkey', '-in', at('key.pem'), '-pubout', '-out', at('other.pub')]);
      const key = `agree/${algorithm}`;
      const agree = (info: string) =>
        mustRun(
          installation,
          `keyreeve agree ${key} --peer other.pub --info ${info} --out - | od -An -vtx1`,
          { folder },
        );
      await mustRun(
        installation,
        `keyreeve key create ${key} --algorithm ${algorithm} --purpose agree &&
         keyreeve key public ${key} --out key.pub\n${linesFor('ecdh')[0]!}`,
        { folder },
      );
      const hex = (text: Buffer) => text.toString().replace(/\s/g, '');
      const secret = readFileSync(at('message.secret')).toString('hex');
      assert.equal(hex((await agree('tokens')).stdout), secret);
      assert.notEqual(hex((await agree('other')).stdout), secret);
    });
  }
});

function pemOf(path: string): string {
  const key = createPrivateKey({ key: readFileSync(path), format: 'der', type: 'pkcs8' });
  return key.export({ format: 'pem', type: 'pkcs8' }) as string;
}
