import type { CaView } from '../../../api/routes/authorities.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Call } from '../../base/handler.ts';
import type { Intend, Outcome } from '../../commands/commands.ts';
import { findVersion } from '../../keys/keys.ts';
import type { Authority } from '../authority.ts';
import { issuerAbove, runOnAuthority } from './authority-command.ts';
import { isRoot, newestSigning } from './authority-rules.ts';
import { certifyAgain } from './certify-again.ts';
import { newVersion } from './new-authority.ts';
import type { Parts } from './parts.ts';
import { certificateDetail } from './signing.ts';
import { Undo } from './undo.ts';

type RenewCall = Call<'ca.renew'>;

/**
 * Gives the current key of a CA a new certificate, which goes into its chains from then on. One
 * that has ended is renewed too; one that was revoked is not: its key is not to be trusted again.
 */
export async function renewAuthority(parts: Parts, call: RenewCall): Promise<CaView> {
  const { authorities, commands } = parts;
  const known = await commands.prepare(call.caller, 'ca.renew', () =>
    authorities.lookup(call.caller, call.params.ca, 'ca.renew'),
  );
  const undo = new Undo();
  return authorities.keys.rotations.run(known.key.id, () =>
    runOnAuthority(parts, call, {
      action: 'ca.renew',
      isCertified: true,
      input: { ...call.body },
      act: (authority, now, intend) => renew(parts, call, { authority, now, undo }, intend),
      undo: () => undo.run(),
    }),
  );
}

async function renew(
  parts: Parts,
  { caller, body }: RenewCall,
  { authority, now, undo }: { authority: Authority; now: number; undo: Undo },
  intend: Intend,
): Promise<Outcome<CaView>> {
  const { authorities, signer } = parts;
  const { store } = authorities;
  const { key } = authority;
  const newest = key.versions.at(-1)!.version;
  if (body.sawVersion !== undefined && body.sawVersion !== newest) {
    throw new KeyreeveError('conflict', `${key.name} is at version ${newest} by now.`, {
      hint: 'Look at it again, then repeat the command.',
    });
  }
  const old = newestSigning(authority, now);
  if (old.revokedAt !== null) {
    throw new KeyreeveError(
      'state-not-allowed',
      `The certificate of ${key.name}@${old.version} is revoked or on hold.`,
      { hint: `Give it a new key: keyreeve ca rekey ${key.name}` },
    );
  }
  const issuer = isRoot(authority) ? undefined : await issuerAbove(parts, caller, authority, now);
  const signed = await certifyAgain(
    parts,
    {
      caller,
      key,
      version: findVersion(key, old.version),
      before: old.certificate,
      issuer,
      validitySeconds: body.validitySeconds,
      now,
    },
    intend,
  );
  undo.later(() => signer.undo(signed));
  const { certificateId, certificate, pem, issuedBy } = newVersion(old.version, signed, now);
  const renewed = { ...old, certificateId, certificate, pem, issuedBy };
  const after: Authority = {
    ...authority,
    revision: authority.revision + 1,
    versions: authority.versions.map((version) => (version === old ? renewed : version)),
  };
  return {
    result: await authorities.view(after, issuer === undefined ? { valid: 1 } : {}),
    steps: [
      ...(issuer === undefined ? [] : store.unchanged(issuer.authority)),
      ...store.unchanged(authority).slice(0, 1),
      ...signed.steps,
      store.moveCertificate(key.id, old, certificateId),
      store.updateAuthority(authority),
    ],
    about: {
      keyVersion: String(old.version),
      detail: canonicalJson(certificateDetail(signed)),
    },
  };
}
