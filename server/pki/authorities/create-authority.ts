import type { CaView } from '../../../api/routes/authorities.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import type { Call } from '../../base/handler.ts';
import type { Intend, Outcome } from '../../commands/commands.ts';
import {
  draftKey,
  type KeyDraft,
  type MadeVersion,
  makeFirstVersion,
  makingDetail,
  makingIntent,
  newAttempt,
  refuseSystemFolder,
  refuseTaken,
  resourceOf,
  withStorageClass,
} from '../../keys/keys.ts';
import { formatName, parseConstraint, parseName } from '../../x509/x509.ts';
import type { Authority } from '../authority.ts';
import { newSerial, planCertificate, type Wanted } from '../rules/rules.ts';
import { certifying } from './authority-command.ts';
import { intermediateProfile, rootProfile } from './authority-profiles.ts';
import type { Authorities } from './authority-ring.ts';
import { versionScheme } from './authority-rules.ts';
import { newAuthoritySteps, newVersion, refuseSameSubject } from './new-authority.ts';
import type { Parts } from './parts.ts';
import { checkSettings } from './settings.ts';
import { certificateDetail, type SignedCertificate } from './signing.ts';
import { Undo } from './undo.ts';

type CreateCall = Call<'ca.create'>;

/** Makes a CA: its key, in whatever keystore, and its certificate, in one write. */
export async function createAuthority(parts: Parts, call: CreateCall): Promise<CaView> {
  const { authorities, commands } = parts;
  const { keys } = authorities;
  const { caller, body } = call;
  const now = authorities.clock.now();
  const { key, parent, keystore } = await commands.prepare(caller, 'ca.create', async () => {
    const drafted = await draftAuthorityKey(authorities, call, now);
    keys.authorise(caller, 'ca.create', resourceOf(drafted));
    return {
      key: drafted,
      parent: await parentOf(authorities, call),
      keystore: keys.keystores.named(drafted.keystore),
    };
  });
  const attempt = newAttempt();
  const intent = makingIntent(keystore, key, 1, attempt);
  const undo = new Undo();
  return commands.run(caller, {
    action: 'ca.create',
    resource: resourceOf(key),
    ...(parent === undefined ? {} : { also: [certifying(parent)] }),
    about: { keyId: key.id, keyName: key.name, keyVersion: '1' },
    input: { ...body, policy: { ...body.policy }, settings: { ...body.settings } },
    idempotencyKey: call.idempotencyKey,
    ...(intent === undefined ? {} : { intent }),
    act: async (intend) => {
      refuseSystemFolder(body.name);
      await refuseTaken(keys, key.name);
      const wanted = await wantedOf(authorities, call);
      const issuer = parent && (await freshParent(authorities, call, parent.key.id));
      if (issuer !== undefined) authorities.current(issuer, now);
      const from = { material: key.algorithm, origin: 'generated', attempt } as const;
      const made = await makeFirstVersion(keys, key, from, now);
      undo.later(() => made.undo());
      const signed = await certify(parts, call, { made, issuer, wanted, now }, intend);
      undo.later(() => parts.signer.undo(signed));
      return outcomeOf(authorities, call, { made, issuer, now }, signed);
    },
    undo: () => undo.run(),
  });
}

async function outcomeOf(
  authorities: Authorities,
  { body }: CreateCall,
  { made, issuer, now }: Omit<Making, 'wanted'>,
  signed: SignedCertificate,
): Promise<Outcome<CaView>> {
  const { store } = authorities;
  const authority: Authority = {
    key: made.record,
    state: 'active',
    subject: signed.certificate.subject,
    subjectText: formatName(signed.certificate.subjectName),
    parentId: issuer?.key.id ?? null,
    settings: body.settings,
    createdAt: now,
    revision: 1,
    versions: [newVersion(1, signed, now)],
  };
  const rows = { key: made, authority, certificateSteps: signed.steps };
  return {
    result: await authorities.view(authority, issuer === undefined ? { valid: 1 } : {}),
    steps: [
      ...(issuer === undefined ? [] : store.unchanged(issuer)),
      ...newAuthoritySteps(store, rows),
    ],
    about: {
      detail: canonicalJson({
        ...makingDetail(made),
        subject: authority.subjectText,
        parent: issuer?.key.name ?? null,
        ...certificateDetail(signed),
      }),
    },
  };
}

/** The key of the CA: it signs in one way. */
async function draftAuthorityKey(
  { keys }: Authorities,
  { caller, body }: CreateCall,
  now: number,
): Promise<KeyDraft> {
  const { name, algorithm, scheme, keystore, labels, owner } = body;
  const key = await draftKey(
    keys,
    caller,
    'ca.create',
    {
      name,
      algorithm,
      purpose: 'ca',
      labels,
      policy: withStorageClass(keys.storageTable, body.policy, body.parent === undefined),
      ...(scheme === undefined ? {} : { schemes: [scheme] }),
      ...(keystore === undefined ? {} : { keystore }),
      ...(owner === undefined ? {} : { owner }),
    },
    now,
  );
  return { ...key, schemes: key.schemes.slice(0, 1) };
}

async function parentOf(
  authorities: Authorities,
  { caller, body }: CreateCall,
): Promise<Authority | undefined> {
  if (body.parent === undefined) return undefined;
  const parent = await authorities.lookup(caller, body.parent, 'ca.certify');
  authorities.keys.authorise(caller, 'ca.certify', resourceOf(parent.key));
  return parent;
}

/** As it is stored now, not as it is kept in memory. */
async function freshParent(
  authorities: Authorities,
  { caller }: CreateCall,
  id: string,
): Promise<Authority> {
  const parent = await authorities.store.fresh(id);
  authorities.keys.authorise(caller, 'ca.certify', resourceOf(parent.key));
  return parent;
}

/** What is asked for, but for the key; whatever can be refused before there is one is. */
async function wantedOf(
  authorities: Authorities,
  { body }: CreateCall,
): Promise<Omit<Wanted, 'spki'>> {
  const { nameConstraints, pathLength, validitySeconds } = body;
  const subject = parseName(body.subject);
  await refuseSameSubject(authorities.store, formatName(subject));
  await checkSettings(authorities, body.settings);
  return {
    subject,
    names: [],
    pathLength,
    validitySeconds,
    nameConstraints: nameConstraints && {
      permitted: nameConstraints.permitted.map(parseConstraint),
      excluded: nameConstraints.excluded.map(parseConstraint),
    },
  };
}

interface Making {
  readonly made: MadeVersion;
  readonly issuer: Authority | undefined;
  readonly wanted: Omit<Wanted, 'spki'>;
  readonly now: number;
}

/** The certificate of the new key: by its own key, or by that of the CA above. */
async function certify(
  { authorities, signer }: Parts,
  { caller }: CreateCall,
  { made, issuer, wanted, now }: Making,
  intend: Intend,
): Promise<SignedCertificate> {
  const createdBy = caller.principalId;
  const asked = { ...wanted, spki: Buffer.from(made.version.publicKey!) };
  const context = { now, serial: newSerial() };
  if (issuer === undefined) {
    const self = { self: true, scheme: versionScheme(made.record, made.version) } as const;
    const fields = planCertificate(rootProfile, self, asked, context);
    const job = { key: made.record, version: 1, profile: rootProfile, fields, createdBy };
    return signer.signSelf(job, intend);
  }
  const version = authorities.current(issuer, now);
  const facts = await authorities.issuerFacts(issuer, version);
  const fields = planCertificate(intermediateProfile, facts, asked, context);
  return signer.sign(
    {
      authority: issuer,
      version,
      profile: intermediateProfile,
      fields,
      key: { id: made.record.id, version: 1 },
      createdBy,
      chain: facts.chain,
    },
    intend,
  );
}
