/** Authorities and client certificates for tests: made by openssl, stored as a CA of ours would. */
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tryRun } from '../../test/tools.ts';
import { newId } from '../base/ids.ts';
import type { Schema, Step } from '../storage/storage.ts';
import type { TestAccess } from './test-support.ts';

export interface TestCertificate {
  /** Of its row. */
  readonly id: string;
  readonly pem: string;
  readonly keyPem: string;
  readonly x509: X509Certificate;
  /** SHA-256 of the DER and of the SPKI, hexadecimal. */
  readonly fingerprint: string;
  readonly keyFingerprint: string;
}

export interface TestAuthority extends TestCertificate {
  readonly caId: string;
  readonly name: string;
}

/** A CA with one version of its key; a root where no parent is named. */
export async function addAuthority(
  { storage }: TestAccess,
  name: string,
  parent?: TestAuthority,
): Promise<TestAuthority> {
  const made = makeCertificate(
    `/CN=${name.replaceAll('/', ' ')}`,
    ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'],
    parent,
  );
  const caId = newId('key');
  const now = made.x509.validFromDate.getTime();
  const { db } = storage;
  const insert = <Table extends keyof Schema>(table: Table, row: Schema[Table]): Step => ({
    query: db
      .insertInto(table)
      .values(row as never)
      .compile(),
  });
  await storage.commit({
    steps: [
      insert('key', {
        ...{ id: caId, name, folder: name.slice(0, Math.max(0, name.lastIndexOf('/'))) },
        ...{ purpose: 'ca', algorithm: 'p-256', schemes_json: '[]', policy_json: '{}' },
        ...{ labels_json: '{}', owner_id: newId('prn'), keystore: 'wrapped', current_version: 1 },
        ...{ created_at: now, destroy_at: null, revision: 1 },
        ...{ rotation_due_at: null, rotation_told: null },
      }),
      insert('key_version', {
        ...{ key_id: caId, version: 1, algorithm: 'p-256', state: 'active', public_key: null },
        ...{ fingerprint: made.keyFingerprint, uri: 'wrapped:', private_blob: null },
        ...{ store_key_id: null, origin: 'generated', created_at: now, activates_at: now },
        ...{ deactivates_at: null, state_changed_at: now, uses_reserved: 0 },
      }),
      insert('ca', {
        ...{ key_id: caId, subject: Buffer.alloc(0), subject_text: made.x509.subject },
        subject_folded: null,
        ...{ parent_id: parent?.caId ?? null, state: 'active', settings_json: '{}' },
        ...{ created_at: now, revision: 1 },
      }),
      insert('certificate', rowOf(made, parent?.caId ?? caId)),
      insert('ca_version', {
        ...{ key_id: caId, version: 1, certificate_id: made.id, crl_number: 0 },
        ...{ crl_due_at: null, crl_published_at: null, expiry_told: null },
        ...{ crl_claimed_by: null, crl_claimed_until: null },
      }),
    ],
    entries: [],
    raisesEpoch: true,
  });
  return { ...made, caId, name };
}

export interface ClientOptions {
  readonly subject?: string;
  /** As openssl writes them: `DNS:app.example`. */
  readonly names?: string;
  readonly extensions?: readonly string[];
  /** False for one that nobody here knows. */
  readonly isStored?: boolean;
}

/** Issuing one raises no epoch, as in the service. */
export async function addClient(
  { storage }: TestAccess,
  authority: TestAuthority,
  options: ClientOptions = {},
): Promise<TestCertificate> {
  const made = makeCertificate(
    options.subject ?? '/CN=client',
    [
      'basicConstraints=CA:FALSE',
      ...(options.names === undefined ? [] : [`subjectAltName=${options.names}`]),
      ...(options.extensions ?? ['extendedKeyUsage=clientAuth', 'keyUsage=digitalSignature']),
    ],
    authority,
  );
  if (options.isStored === false) return made;
  const row = rowOf(made, authority.caId);
  const query = storage.db.insertInto('certificate').values(row).compile();
  await storage.commit({ steps: [{ query }], entries: [] });
  return made;
}

/** Changes rows as another part of the service would: with an epoch that rises. */
export async function change<Table extends 'certificate' | 'ca' | 'key_version'>(
  { storage }: TestAccess,
  table: Table,
  id: string,
  set: Partial<Schema[Table]>,
): Promise<void> {
  const query = storage.db
    .updateTable(table as 'certificate')
    .set(set as never)
    .where((table === 'certificate' ? 'id' : 'key_id') as 'id', '=', id)
    .compile();
  await storage.commit({
    steps: [{ query, expect: { rows: 1, code: 'not-found', message: 'no such row' } }],
    entries: [],
    raisesEpoch: true,
  });
}

function rowOf(made: TestCertificate, caId: string): Schema['certificate'] {
  const { x509 } = made;
  return {
    ...{ id: made.id, ca_id: caId, ca_version: 1, serial: x509.serialNumber.toLowerCase() },
    ...{ subject: x509.subject ?? '', profile: 'tls-client' },
    not_before: x509.validFromDate.getTime(),
    not_after: x509.validToDate.getTime(),
    ...{ fingerprint: made.fingerprint, key_fingerprint: made.keyFingerprint },
    ...{ key_id: null, key_version: null, names_json: '[]', created_by: newId('prn') },
    created_at: x509.validFromDate.getTime(),
    ...{ revoked_at: null, reason: null, invalid_from: null, der: x509.raw },
  };
}

function makeCertificate(
  subject: string,
  extensions: readonly string[],
  issuer?: TestCertificate,
): TestCertificate {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-certificate-'));
  const at = (name: string) => join(folder, name);
  try {
    if (issuer !== undefined) {
      writeFileSync(at('ca.pem'), issuer.pem);
      writeFileSync(at('ca.key'), issuer.keyPem, { mode: 0o600 });
    }
    writeFileSync(
      at('config'),
      `[req]\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n[extensions]\n${extensions.join('\n')}\n`,
    );
    const made = tryRun('openssl', [
      ...['req', '-x509', '-config', at('config'), '-newkey', 'ec', '-nodes', '-days', '2'],
      ...['-pkeyopt', 'ec_paramgen_curve:P-256', '-subj', subject],
      ...['-keyout', at('key.pem'), '-out', at('cert.pem')],
      ...(issuer === undefined ? [] : ['-CA', at('ca.pem'), '-CAkey', at('ca.key')]),
    ]);
    if (made.status !== 0) throw new Error(`openssl: ${made.stderr ?? made.error}`);
    const pem = readFileSync(at('cert.pem'), 'utf8');
    const x509 = new X509Certificate(pem);
    const spki = x509.publicKey.export({ format: 'der', type: 'spki' });
    return {
      id: newId('crt'),
      ...{ pem, keyPem: readFileSync(at('key.pem'), 'utf8'), x509 },
      fingerprint: sha256(x509.raw),
      keyFingerprint: sha256(spki),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
