import type { CaView } from '../../../api/routes/authorities.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import type { Call } from '../../base/handler.ts';
import type { Intend, Outcome } from '../../commands/commands.ts';
import {
  type MadeVersion,
  makeNextVersion,
  makingIntent,
  newAttempt,
  requireStorage,
} from '../../keys/keys.ts';
import { type Authority, type AuthorityVersion, authorityVersion } from '../authority.ts';
import { type Issuer, issuerAbove, runOnAuthority } from './authority-command.ts';
import { isRoot, newestSigning, requireInForce } from './authority-rules.ts';
import { certifyAgain, crossCertify } from './certify-again.ts';
import { newVersion } from './new-authority.ts';
import type { Parts } from './parts.ts';
import type { SignedCertificate } from './signing.ts';
import { certificateDetail } from './signing.ts';
import { Undo } from './undo.ts';

type RekeyCall = Call<'ca.rekey'>;

/**
 * Gives a CA a new key and certifies it; the old version signs CRLs until its last certificate
 * ends. Requests that saw the same newest version make one new version: whoever comes second is
 * answered with what the first one made.
 */
export async function rekeyAuthority(parts: Parts, call: RekeyCall): Promise<CaView> {
  const { authorities, commands } = parts;
  const { keys } = authorities;
  const known = await commands.prepare(call.caller, 'ca.rekey', () =>
    authorities.lookup(call.caller, call.params.ca, 'ca.rekey'),
  );
  const saw = call.body.sawVersion ?? known.key.versions.at(-1)!.version;
  // One after the other: nobody makes a key pair only to lose the race for its place.
  return keys.rotations.run(known.key.id, () => rekeyFrom(parts, call, known.key.id, saw));
}

async function rekeyFrom(
  parts: Parts,
  call: RekeyCall,
  keyId: string,
  saw: number,
): Promise<CaView> {
  const { authorities } = parts;
  const { keys } = authorities;
  const undo = new Undo();
  const attempt = newAttempt();
  try {
    return await runOnAuthority(parts, call, {
      action: 'ca.rekey',
      isCertified: true,
      input: { ...call.body },
      intent: ({ key }) =>
        makingIntent(keys.keystores.holding(key.keystore), key, saw + 1, attempt),
      act: async (authority, now, intend) => {
        if (authority.key.versions.at(-1)!.version !== saw) {
          const detail = canonicalJson({ made: false });
          return { result: await authorities.view(authority), steps: [], about: { detail } };
        }
        return rekey(parts, call, { authority, now, undo, attempt }, intend);
      },
      undo: () => undo.run(),
    });
  } catch (error) {
    // Another process made this version between our look and our commit: its version is the answer.
    if (!isKeyreeveError(error, 'conflict')) throw error;
    const fresh = await authorities.store.fresh(keyId);
    if (fresh.key.versions.at(-1)!.version <= saw) throw error;
    return authorities.view(fresh);
  }
}

interface Work {
  readonly authority: Authority;
  readonly now: number;
  readonly undo: Undo;
  readonly attempt: string;
}

async function rekey(
  parts: Parts,
  call: RekeyCall,
  { authority, now, undo, attempt }: Work,
  intend: Intend,
): Promise<Outcome<CaView>> {
  const { authorities, signer } = parts;
  const { store, keys } = authorities;
  const old = newestSigning(authority, now);
  const isOwnRoot = isRoot(authority);
  // The old version is to vouch for the new one.
  if (isOwnRoot) requireInForce(authority, old, now);
  const issuer = isOwnRoot ? undefined : await issuerAbove(parts, call.caller, authority, now);
  const wanted = { algorithm: call.body.algorithm, activatesAt: now, attempt };
  requireStorage(
    keys.storageTable,
    { ...authority.key, isRoot: isOwnRoot },
    keys.keystores.holding(authority.key.keystore),
  );
  const made = await makeNextVersion(keys, authority.key, wanted, now);
  undo.later(() => made.undo());
  const own = await certifyAgain(
    parts,
    {
      caller: call.caller,
      key: made.record,
      version: made.version,
      before: old.certificate,
      issuer,
      validitySeconds: call.body.validitySeconds,
      now,
    },
    intend,
  );
  undo.later(() => signer.undo(own));
  const version = newVersion(made.version.version, own, now);
  const after: Authority = {
    ...authority,
    key: made.record,
    revision: authority.revision + 1,
    versions: [...authority.versions, version],
  };
  const crossed = isOwnRoot
    ? await crossBoth(parts, call, { authority, after, old, made, undo }, intend)
    : [];
  const added = isOwnRoot ? { valid: 1 + crossed.length } : {};
  return {
    result: await authorities.view(after, added),
    steps: [
      ...unchangedIssuer(parts, issuer),
      ...made.steps,
      ...own.steps,
      ...crossed.flatMap((each) => each.steps),
      store.insertVersion(authority.key.id, version),
      store.updateAuthority(authority),
    ],
    about: {
      keyVersion: String(version.version),
      detail: canonicalJson({
        made: true,
        algorithm: made.version.algorithm,
        fingerprint: made.version.fingerprint,
        ...certificateDetail(own),
        cross: crossed.map((each) => each.record.row.serial),
      }),
    },
  };
}

function unchangedIssuer({ authorities }: Parts, issuer: Issuer | undefined) {
  return issuer === undefined ? [] : authorities.store.unchanged(issuer.authority);
}

interface Pair extends Omit<Work, 'now' | 'attempt'> {
  readonly after: Authority;
  readonly old: AuthorityVersion;
  readonly made: MadeVersion;
}

/**
 * New with old, so that whoever trusts the old key comes to trust the new one, and old with new,
 * for what is trusted the other way round (RFC 4210, section 4.4), both until the first of the two
 * ends. Old with new begins with the new key and not with the old one, as it is written there: a
 * certificate is valid within the time of the one above it.
 */
async function crossBoth(
  parts: Parts,
  { caller }: RekeyCall,
  { authority, after, old, made, undo }: Pair,
  intend: Intend,
): Promise<SignedCertificate[]> {
  const fresh = authorityVersion(after, made.version.version)!;
  const both = {
    notBefore: Math.max(old.certificate.notBefore, fresh.certificate.notBefore),
    notAfter: Math.min(old.certificate.notAfter, fresh.certificate.notAfter),
  };
  const newWithOld = await crossCertify(
    parts,
    { caller, authority, by: old, of: fresh, ...both },
    intend,
  );
  undo.later(() => parts.signer.undo(newWithOld));
  // Until the write, the key is at the revision that was read.
  const unwritten = { ...after, key: { ...after.key, revision: authority.key.revision } };
  const oldWithNew = await crossCertify(
    parts,
    { caller, authority: unwritten, by: fresh, of: old, ...both },
    intend,
  );
  undo.later(() => parts.signer.undo(oldWithNew));
  return [newWithOld, oldWithNew];
}
