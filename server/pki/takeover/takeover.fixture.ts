/** What the tests of this folder share: a CA that openssl runs, and an installation to take it over. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { StreamAnswer } from '../../base/handler.ts';
import { openTestKeys, type TestKeysOptions } from '../../keys/testing.ts';
import { askOf, waitingEntries } from '../pki.fixture.ts';
import { createPki } from '../pki.ts';

/** Certificate authorities over a real database, at the time of this machine: openssl has no other. */
export async function openTestTakeover(options: TestKeysOptions = {}) {
  const test = await openTestKeys(options);
  const { storage, keys, clock, commands } = test;
  clock.wall = Date.now();
  const log = { info: () => undefined, warn: () => undefined };
  const pki = createPki({
    ...{ storage, keys, clock, log, baseUrl: undefined },
    isClockUnsafe: () => false,
  });
  const handlers = pki.handlers(commands);
  await pki.settle(() => true);
  await pki.start();
  const ask = askOf(handlers, test.caller);
  return {
    ...test,
    pki,
    ask,
    entries: () => waitingEntries(storage),
    importCa: (name: string, body: object) => ask('ca.import', { body: { name, ...body } }),
    portion: (ca: string, body: object) => ask('ca.import-certificates', { params: { ca }, body }),
    finish: (ca: string, issued: number, revoked: number) =>
      ask('ca.import-finish', { params: { ca }, body: { issued, revoked } }),
    show: (ca: string) => ask('ca.show', { params: { ca } }),
    rows: () => storage.db.selectFrom('certificate').selectAll().orderBy('id').execute(),
    /** The newest CRL, once there is one of that number. */
    crl: async (ca: string, number: number): Promise<Buffer> => {
      for (let tries = 0; tries < 200; tries++) {
        await pki.publishDue();
        const view = await ask('ca.show', { params: { ca } });
        if (view.versions.at(-1)!.crlNumber >= number) break;
        await wait(20);
      }
      const answer = (await ask('crl.get', { params: { ca } })) as unknown as StreamAnswer;
      const pieces: Uint8Array[] = [];
      for await (const piece of answer.body) pieces.push(piece);
      return Buffer.concat(pieces);
    },
    [Symbol.asyncDispose]: async () => {
      await pki.stop();
      await test.close();
    },
  };
}

export interface OpensslCaOptions {
  /** As `openssl req -newkey` takes it. */
  readonly newkey?: readonly string[];
  readonly digest?: string;
  readonly subject?: string;
  readonly extensions?: readonly string[];
  /** The CA above it; a root where left out. */
  readonly parent?: Pick<Certifier, 'certify'>;
  /** Which string types openssl takes for names: `utf8only`, `nombstr`, ... */
  readonly stringMask?: string;
  /** A passphrase for the private key. */
  readonly passphrase?: string;
  /** The root issues its own certificate and lists it (`openssl ca -selfsign`). */
  readonly listsItself?: boolean;
}

interface Certifier {
  certify(csr: string, out: string, extensions: readonly string[]): void;
}

/** A CA in a folder of its own, run by `openssl ca`. */
export type OpensslCa = ReturnType<typeof makeOpensslCa>;

export function makeOpensslCa(
  t: { after(clean: () => void): void },
  openssl: string,
  options: OpensslCaOptions = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-openssl-ca-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string) => join(folder, name);
  const read = (name: string) => readFileSync(at(name), 'utf8');
  const command = (...parameters: string[]) =>
    execFileSync(openssl, parameters, {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: folder,
      maxBuffer: 64 * 1024 * 1024,
    });
  mkdirSync(at('newcerts'));
  writeFileSync(at('index.txt'), '');
  writeFileSync(at('serial'), '1000\n');
  writeFileSync(at('crlnumber'), '0F\n');
  writeFileSync(at('ca.cnf'), configuration(options));
  const newkey = options.newkey ?? ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  const subject = options.subject ?? '/C=DE/O=Example/CN=Old Root';
  const extensions = options.extensions ?? [
    'basicConstraints=critical,CA:TRUE',
    'keyUsage=critical,keyCertSign,cRLSign',
    'subjectKeyIdentifier=hash',
  ];
  const secrecy =
    options.passphrase === undefined ? ['-nodes'] : ['-passout', `pass:${options.passphrase}`];
  const key = ['-newkey', ...newkey, ...secrecy, '-keyout', 'ca.key', '-subj', subject, '-utf8'];
  const digest = `-${options.digest ?? 'sha256'}`;
  const base = ['-config', 'ca.cnf', ...key, digest];
  const ca = (...parameters: string[]) =>
    command('ca', '-config', 'ca.cnf', '-batch', ...parameters);
  const certify = (csr: string, out: string, lines: readonly string[], ...more: string[]) => {
    writeFileSync(at('below.cnf'), lines.map((line) => line.replace('=', ' = ')).join('\n'));
    ca('-notext', '-in', csr, '-out', out, '-extfile', 'below.cnf', '-days', '1825', ...more);
  };
  if (options.listsItself === true) {
    command('req', '-new', ...base, '-out', 'ca.csr');
    certify('ca.csr', 'ca.crt', extensions, '-selfsign', '-keyfile', 'ca.key');
  } else if (options.parent === undefined) {
    const added = extensions.flatMap((extension) => ['-addext', extension]);
    command('req', '-x509', ...base, '-days', '3650', ...added, '-out', 'ca.crt');
  } else {
    command('req', '-new', ...base, '-out', 'ca.csr');
    options.parent.certify(at('ca.csr'), at('ca.crt'), extensions);
  }
  return {
    folder,
    at,
    read,
    command,
    ca,
    key: () => read('ca.key'),
    certificate: () => read('ca.crt'),
    index: () => read('index.txt'),
    /** As `openssl ca` keeps it: the number of the next CRL. */
    nextCrlNumber: () => Number.parseInt(read('crlnumber').trim(), 16),
    newestCrlNumber: () => (Number.parseInt(read('crlnumber').trim(), 16) - 1).toString(16),
    bundle: () =>
      readdirSync(at('newcerts'))
        .sort()
        .map((name) => read(join('newcerts', name)))
        .join(''),
    /** Signs the request of a CA below this one. */
    certify,
    /** Issues certificates, one for each subject, with one key for all. */
    issue: (subjects: readonly string[]) => {
      const requests = new Map<string, string>();
      for (const subject of subjects) {
        if (requests.has(subject)) continue;
        const name = `request-${requests.size}.csr`;
        requests.set(subject, name);
        const leaf = requests.size === 1 ? newKey('leaf.key') : ['-key', 'leaf.key'];
        command(
          ...['req', '-new', '-config', 'ca.cnf', ...leaf, '-subj', subject, '-utf8', '-out', name],
        );
      }
      ca('-notext', '-infiles', ...subjects.map((subject) => requests.get(subject)!));
    },
    /** A request without a subject. */
    request: (file: string, key: readonly string[], names: string) => {
      const base = ['req', '-new', '-config', 'ca.cnf', '-subj', '/', ...key];
      command(...base, '-addext', `subjectAltName=${names}`, '-out', file);
    },
    revoke: (serial: string, ...reason: string[]) => {
      ca('-revoke', join('newcerts', `${serial}.pem`), ...reason);
    },
    publish: () => {
      ca('-gencrl', '-out', 'ca.crl');
      return read('ca.crl');
    },
  };
}

/** The parameters of `openssl req` for a request with a new key. */
export function newKey(file: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file];
}

function configuration({ digest = 'sha256', stringMask = 'utf8only' }: OpensslCaOptions): string {
  return `[ca]
default_ca = main
[main]
dir = .
database = ./index.txt
new_certs_dir = ./newcerts
certificate = ./ca.crt
private_key = ./ca.key
serial = ./serial
crlnumber = ./crlnumber
default_md = ${digest}
default_days = 365
default_crl_days = 30
policy = anything
unique_subject = no
x509_extensions = leaf
crl_extensions = crl
preserve = yes
[anything]
countryName = optional
organizationName = optional
organizationalUnitName = optional
domainComponent = optional
emailAddress = optional
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
subjectAltName = DNS:www.example.org,email:ada@example.org
[crl]
authorityKeyIdentifier = keyid
[req]
string_mask = ${stringMask}
distinguished_name = empty
[empty]
`;
}

/** The entries of a CRL as openssl prints them: serial number, and what it says of it. */
export function revokedIn(openssl: string, crl: Buffer, form: 'DER' | 'PEM'): Map<string, string> {
  const text = execFileSync(openssl, ['crl', '-inform', form, '-noout', '-text'], {
    input: crl,
    encoding: 'utf8',
  });
  const entries = new Map<string, string>();
  const list = text.split('Revoked Certificates:\n')[1]?.split('    Signature Algorithm')[0] ?? '';
  for (const entry of list.split('    Serial Number: ').slice(1)) {
    const [serial, ...lines] = entry.split('\n');
    entries.set(
      serial!.trim(),
      lines
        .map((line) => line.trim())
        .join(' ')
        .trim(),
    );
  }
  return entries;
}
