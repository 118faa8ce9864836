/** What the tests of this folder share: CAs over a real database, and requests made by openssl. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { run } from '../../../test/tools.ts';
import { openTestKeys, type TestKeysOptions } from '../../keys/testing.ts';
import type { Write } from '../../storage/storage.ts';
import { Authorities, createAuthorityHandlers } from '../authorities/authorities.ts';
import { type Asked, askOf, waitingEntries } from '../pki.fixture.ts';
import {
  CertificateSigner,
  createCertificateHandlers,
  settleCertificates,
} from './certificates.ts';

export const baseAddress = 'http://pki.example.org';

/** A folder of certificates: authorities, signer and handlers, and what is called on a revocation. */
export async function openTestCertificates(options: TestKeysOptions = {}) {
  const test = await openTestKeys(options);
  const { storage, keys, clock, commands } = test;
  const revocations: string[] = [];
  const onRevoked = (caId: string, version: number) => {
    revocations.push(`${caId}@${version}`);
  };
  const authorities = new Authorities({
    storage,
    keys,
    clock,
    addresses: (fingerprint) => ({ crl: `${baseAddress}/crl/${fingerprint.slice(0, 40)}.crl` }),
    notes: () => ['a note'],
  });
  const signer = new CertificateSigner({ storage, keys, clock, onRevoked });
  const handlers = {
    ...createAuthorityHandlers(authorities, signer, commands),
    ...createCertificateHandlers({
      storage,
      keys,
      clock,
      commands,
      authorities,
      signer,
      onRevoked,
      notes: () => ['a note'],
    }),
  };
  const ask = askOf(handlers, test.caller);
  return {
    ...test,
    authorities,
    signer,
    handlers,
    revocations,
    ask,
    entries: () => waitingEntries(storage),
    settle: () => settleCertificates({ storage, clock, onRevoked }),
    root: (name: string, more: object = {}) =>
      ask('ca.create', {
        body: { name, subject: `CN=${name}`, algorithm: 'p-256', ...more },
      }),
    below: (parent: string, name: string, more: object = {}) =>
      ask('ca.create', {
        body: { name, parent, subject: `CN=${name}`, algorithm: 'p-256', ...more },
      }),
    issue: (body: object, asked: Asked = {}) => ask('certificate.issue', { ...asked, body }),
    revoke: (serial: string, body: object = {}) =>
      ask('certificate.revoke', { params: { serial }, body }),
    show: (serial: string, query: object = {}) =>
      ask('certificate.show', { params: { serial }, query }),
    list: async (query: object = {}) => (await ask('certificate.list', { query })).items,
    intents: () => storage.db.selectFrom('intent').selectAll().execute(),
    rows: () => storage.db.selectFrom('certificate').selectAll().orderBy('id').execute(),
    /** A CRL of every version is out, which was begun some seconds ago. */
    crlsAreOut: async (begunSeconds = 0) => {
      const { db } = storage;
      const versions = await db.selectFrom('ca_version').selectAll().execute();
      const rows = versions.map(({ key_id, version, crl_number }) => ({
        ...{ key_id, version, number: crl_number + 1, next_update: clock.now(), entries: 0 },
        this_update: clock.now() - begunSeconds * 1000,
        der: Buffer.alloc(0),
      }));
      const published = db.updateTable('ca_version').set(({ eb }) => ({
        crl_number: eb('crl_number', '+', 1),
        crl_published_at: clock.now(),
      }));
      const inserted = db.insertInto('crl').values(rows);
      const steps = [{ query: published.compile() }, { query: inserted.compile() }];
      await storage.commit({ steps, entries: [] });
    },
    /** Lets a test stand between the service and its database. */
    intercept: (before: (write: Write) => void | Promise<void>) => {
      const commit = storage.commit.bind(storage);
      storage.commit = async (write) => {
        await before(write);
        return commit(write);
      };
      return () => {
        storage.commit = commit;
      };
    },
    [Symbol.asyncDispose]: test.close,
  };
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-certificates-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface RequestOptions {
  readonly subject?: string;
  /** As openssl writes them: `DNS:www.example.org`. */
  readonly names?: readonly string[];
  readonly key?: KeyObject;
  readonly extensions?: readonly string[];
}

/** A fresh key for a request. */
export function freshKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** A request (PEM) as `openssl req` makes it. */
export function requestBy(
  openssl: string,
  folder: string,
  {
    subject = '/',
    names = ['DNS:www.example.org'],
    key = freshKey(),
    extensions = [],
  }: RequestOptions,
): string {
  const keyFile = join(folder, 'request.key');
  writeFileSync(keyFile, key.export({ type: 'pkcs8', format: 'pem' }));
  const added = [
    ...(names.length === 0 ? [] : [`subjectAltName=${names.join(',')}`]),
    ...extensions,
  ];
  return run(openssl, [
    ...['req', '-new', '-key', keyFile, '-subj', subject],
    ...added.flatMap((extension) => ['-addext', extension]),
  ]).toString('utf8');
}

/** What `openssl verify` says of a certificate below these; throws where it refuses. */
export function verifyBy(
  openssl: string,
  folder: string,
  chain: { readonly root: string; readonly below?: string; readonly leaf: string },
  parameters: readonly string[] = [],
): string {
  const files = { root: 'root.pem', below: 'below.pem', leaf: 'leaf.pem' } as const;
  writeFileSync(join(folder, files.root), chain.root);
  writeFileSync(join(folder, files.below), chain.below ?? '');
  writeFileSync(join(folder, files.leaf), chain.leaf);
  return run(openssl, [
    // The clock of the tests stands on the first of January 2030.
    ...['verify', '-x509_strict', '-attime', String(Date.UTC(2030, 0, 2) / 1000)],
    ...['-CAfile', join(folder, files.root)],
    ...(chain.below ? ['-untrusted', join(folder, files.below)] : []),
    ...parameters,
    join(folder, files.leaf),
  ]).toString('utf8');
}
