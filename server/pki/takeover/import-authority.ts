import { createHash } from 'node:crypto';
import type { CaView } from '../../../api/routes/authorities.ts';
import { canonicalJson, type Json } from '../../base/canonical-json.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Call } from '../../base/handler.ts';
import type { Command } from '../../commands/commands.ts';
import {
  draftKey,
  folderOf,
  type KeyDraft,
  type MadeVersion,
  makeFirstVersion,
  makingDetail,
  makingIntent,
  newAttempt,
  notAdopted,
  refuseAdopted,
  refuseSystemFolder,
  refuseTaken,
  requireUsable,
  resourceOf,
  withStorageClass,
} from '../../keys/keys.ts';
import type { AdoptedKey } from '../../keystores/keystores.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import { certificatePem, formatName } from '../../x509/x509.ts';
import { checkSettings, newAuthoritySteps, refuseSameSubject } from '../authorities/authorities.ts';
import type { Authority } from '../authority.ts';
import { serialText } from '../certificate-record.ts';
import {
  type AuthorityCertificate,
  checkAuthorityCertificate,
  isSignedBy,
  readAuthorityFile,
} from './authority-certificate.ts';
import { type OwnCertificate, ownCertificate, upperSteps } from './authority-rows.ts';
import { adoptedKey, readKey } from './own-key.ts';
import { importedVersion, type TakeoverParts } from './takeover-parts.ts';

/** Numbers of CRLs are counted on from here; the database keeps 53 bits of them. */
const crlNumberMax = 2 ** 52;

/**
 * Begins a take-over: the key and the certificate of a CA that was run elsewhere. It signs and
 * publishes nothing before the take-over is ended.
 */
export async function importAuthority(
  parts: TakeoverParts,
  call: Call<'ca.import'>,
): Promise<CaView> {
  const { keys, commands } = parts;
  const { caller, body } = call;
  const now = parts.clock.now();
  const { found, parent, key, adopted } = await commands.prepare(caller, 'ca.import', () =>
    prepare(parts, call, now),
  );
  const about = { keyId: key.id, keyName: key.name, keyVersion: String(importedVersion) };
  const keystore = await commands.prepare(caller, 'ca.import', async () =>
    keys.keystores.named(key.keystore),
  );
  const attempt = newAttempt();
  const intent =
    adopted === undefined ? makingIntent(keystore, key, importedVersion, attempt) : undefined;
  let undo: () => Promise<void> = async () => undefined;
  return commands.run(caller, {
    action: 'ca.import',
    resource: resourceOf(key),
    also: alsoDone(key, parent, adopted),
    about,
    input: withoutSecrets(body),
    idempotencyKey: call.idempotencyKey,
    ...(intent === undefined ? {} : { intent }),
    act: async () => {
      refuseSystemFolder(key.name);
      await refuseTaken(keys, key.name);
      await refuseSameSubject(parts.authorities.store, formatName(found.certificate.subjectName));
      if (parent === undefined) await refuseUnnamedParent(parts, found);
      else {
        // It adds to what the parent has issued, which has to be able to revoke it.
        keys.authorise(caller, 'ca.import', resourceOf(parent.key));
        requireUsable(parent.key, 'sign-crl');
      }
      const crlNumber = crlNumberOf(body.crlNumber);
      if (adopted !== undefined) await refuseAdopted(keys, adopted);
      const made = await makeFirstVersion(
        keys,
        key,
        {
          material: adopted ?? (await readKey(body, found)),
          origin: adopted === undefined ? 'imported' : 'adopted',
          activatesAt: found.certificate.notBefore,
          attempt,
        },
        now,
      );
      undo = made.undo;
      const own = await ownCertificate(parts, found, parent, made, { now, caller });
      const authority = newAuthority(body, found, parent, made, own, crlNumber, now);
      return {
        result: await parts.authorities.view(authority),
        steps: [
          ...(parent === undefined ? [] : parts.authorities.store.unchanged(parent)),
          notBlocked(parts.storage, made.version.fingerprint),
          ...(adopted === undefined ? [] : [notAdopted(keys, adopted)]),
          ...newAuthoritySteps(parts.authorities.store, {
            key: made,
            authority,
            certificateSteps: [
              ...own.steps,
              ...(await upperSteps(parts, key.id, found.upper, { now, caller })),
            ],
          }),
        ],
        about: { ...about, detail: detailOf(made, found, crlNumber) },
      };
    },
    undo: () => undo(),
  });
}

/** What approval rules look at beside: whatever it takes the right to. */
function alsoDone(
  key: KeyDraft,
  parent: Authority | undefined,
  adopted: AdoptedKey | undefined,
): NonNullable<Command<unknown>['also']> {
  return [
    ...(adopted === undefined ? [] : [{ action: 'key.adopt', resource: resourceOf(key) } as const]),
    ...(parent === undefined
      ? []
      : [{ action: 'ca.import', resource: resourceOf(parent.key) } as const]),
  ];
}

interface Prepared {
  readonly found: AuthorityCertificate;
  readonly parent: Authority | undefined;
  readonly key: KeyDraft;
  /** The private half, where it lies in its keystore already. */
  readonly adopted: AdoptedKey | undefined;
}

/** What is found out before there is a command: the certificate, its parent, the key to be. */
async function prepare(
  parts: TakeoverParts,
  call: Call<'ca.import'>,
  now: number,
): Promise<Prepared> {
  const { keys, authorities } = parts;
  const { caller, body } = call;
  // Files are read for those alone who may import a CA of this name.
  keys.authorise(caller, 'ca.import', {
    type: 'key',
    id: '',
    name: body.name,
    folder: folderOf(body.name),
    purpose: 'ca',
    ownerId: caller.principalId,
    labels: body.labels,
  });
  const parent =
    body.parent === undefined
      ? undefined
      : await authorities.lookup(caller, body.parent, 'ca.import');
  const file = readAuthorityFile(body.certificate);
  const found = await checkAuthorityCertificate(file, parent, body.scheme, now);
  await checkSettings(authorities, body.settings);
  const key = await draftKey(
    keys,
    caller,
    'ca.import',
    {
      name: body.name,
      algorithm: found.algorithm,
      purpose: 'ca',
      schemes: [found.scheme],
      labels: body.labels,
      policy: withStorageClass(keys.storageTable, body.policy, found.isRoot),
      ...(body.keystore === undefined ? {} : { keystore: body.keystore }),
      ...(body.owner === undefined ? {} : { owner: body.owner }),
    },
    now,
  );
  return { found, parent, key, adopted: await adoptedKey(parts, call, key, found) };
}

/** A CA of ours that has certified this one has to know of it: revoking it there must count here. */
async function refuseUnnamedParent(
  parts: TakeoverParts,
  { certificate, isRoot }: AuthorityCertificate,
): Promise<void> {
  if (isRoot) return;
  const rows = await parts.storage.db
    .selectFrom('ca')
    .select('key_id')
    .where('subject', '=', certificate.issuer)
    .execute();
  for (const { key_id } of rows) {
    const candidate = await parts.authorities.byId(key_id);
    for (const version of candidate.versions) {
      if (!(await isSignedBy(certificate, version.certificate.spki))) continue;
      throw new KeyreeveError(
        'invalid-request',
        'The certificate was issued by a CA of this installation, which is not named as the parent.',
        { hint: 'Name the parent: keyreeve ca import --parent NAME' },
      );
    }
  }
}

/** What was given up as compromised, here or elsewhere, is no key of a CA. */
function notBlocked({ db }: Storage, fingerprint: string): Step {
  return {
    query: db
      .selectFrom('blocked_key')
      .select('fingerprint')
      .where('fingerprint', '=', fingerprint)
      .compile(),
    expect: { rows: 0, code: 'public-key-refused', message: 'The key of the CA is blocked.' },
  };
}

function crlNumberOf(text: string | undefined): number {
  const number = text === undefined ? 0n : BigInt(`0x${text}`);
  if (number <= BigInt(crlNumberMax)) return Number(number);
  throw new KeyreeveError(
    'invalid-request',
    'The number of the CRL is too large to count on from.',
    {
      hint: 'It may have 52 bits. Give the CA a new key here in place of taking it over.',
    },
  );
}

function newAuthority(
  body: Call<'ca.import'>['body'],
  { certificate }: AuthorityCertificate,
  parent: Authority | undefined,
  made: MadeVersion,
  own: OwnCertificate,
  crlNumber: number,
  now: number,
): Authority {
  return {
    key: made.record,
    state: 'importing',
    // Byte for byte: relying parties compare the issuer of what it signs with it.
    subject: certificate.subject,
    subjectText: formatName(certificate.subjectName),
    parentId: parent?.key.id ?? null,
    settings: body.settings,
    createdAt: now,
    revision: 1,
    versions: [
      {
        version: importedVersion,
        certificateId: own.id,
        certificate,
        pem: certificatePem(certificate.der),
        issuedBy: own.issuedBy,
        revokedAt: null,
        crlNumber,
        crlDueAt: null,
        crlPublishedAt: null,
      },
    ],
  };
}

function detailOf(
  made: MadeVersion,
  { certificate, scheme }: AuthorityCertificate,
  crlNumber: number,
): string {
  return canonicalJson({
    ...makingDetail(made),
    scheme,
    serial: serialText(certificate.serial),
    subject: formatName(certificate.subjectName),
    crlNumber,
  });
}

/** What an idempotency key stands for: of the key a digest, of the passphrase nothing. */
function withoutSecrets({ key, passphrase: _, ...plain }: Call<'ca.import'>['body']): Json {
  return {
    ...plain,
    policy: { ...plain.policy },
    settings: { ...plain.settings },
    ...(key === undefined ? {} : { keyDigest: createHash('sha256').update(key).digest('hex') }),
  } as Json;
}
