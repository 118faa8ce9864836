import type { CaSettings } from '../../../api/routes/authorities.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Call, Handlers } from '../../base/handler.ts';
import type { Commands } from '../../commands/commands.ts';
import { currentVersion, findVersion, KeyLister, resourceOf } from '../../keys/keys.ts';
import { certificatePem } from '../../x509/x509.ts';
import { type Authority, type AuthorityVersion, authorityVersion } from '../authority.ts';
import { runOnAuthority } from './authority-command.ts';
import { type Authorities, authorityNotFound } from './authority-ring.ts';
import { crossCertificates } from './chains.ts';
import { createAuthority } from './create-authority.ts';
import type { Parts } from './parts.ts';
import { createProfileHandlers } from './profile-handlers.ts';
import { rekeyAuthority } from './rekey-authority.ts';
import { renewAuthority } from './renew-authority.ts';
import { changedSettings, checkSettings } from './settings.ts';
import type { Signing } from './signing.ts';

type AuthorityRoutes =
  | 'ca.create'
  | 'ca.list'
  | 'ca.show'
  | 'ca.chain'
  | 'ca.update'
  | 'ca.rekey'
  | 'ca.renew'
  | 'profile.list'
  | 'profile.show'
  | 'profile.apply'
  | 'profile.remove';

/** The routes of certificate authorities and profiles. */
export function createAuthorityHandlers(
  authorities: Authorities,
  signer: Signing,
  commands: Commands,
): Handlers<AuthorityRoutes> {
  const parts: Parts = { authorities, signer, commands };
  const { keys, clock } = authorities;
  const lister = new KeyLister(keys);
  return {
    'ca.create': (call) => createAuthority(parts, call),
    'ca.list': async ({ caller, query }) => {
      const { items, next } = await lister.page(caller, 'ca.show', { ...query, purpose: 'ca' });
      const found = await Promise.all(items.map((key) => authorities.find(key.id)));
      const known = found.filter((authority) => authority !== undefined);
      return { items: await authorities.views(known), next };
    },
    'ca.show': async ({ caller, params }) => {
      const authority = await authorities.lookup(caller, params.ca, 'ca.show');
      keys.authorise(caller, 'ca.show', resourceOf(authority.key));
      return authorities.view(authority);
    },
    'ca.chain': async ({ params, query }) => {
      const authority = await authorities.find(params.ca);
      if (authority === undefined) throw authorityNotFound(params.ca);
      const version = shownVersion(authority, query.version, clock.now());
      const { certificates, top } = await authorities.pathOf(authority, version);
      const cross = await crossCertificates(keys.storage, top.key.id, clock.now());
      return {
        name: authority.key.name,
        version: version.version,
        chain: certificates.map(({ der }) => certificatePem(der)).join(''),
        cross: cross.map((der) => certificatePem(der)).join(''),
      };
    },
    'ca.update': (call) => updateAuthority(parts, call),
    'ca.rekey': (call) => rekeyAuthority(parts, call),
    'ca.renew': (call) => renewAuthority(parts, call),
    ...createProfileHandlers(authorities, commands),
  };
}

/** The version asked for, else the current one, else the newest. */
function shownVersion(
  authority: Authority,
  asked: number | undefined,
  now: number,
): AuthorityVersion {
  const { key } = authority;
  const number = asked ?? currentVersion(key, now)?.version;
  if (number === undefined) return authority.versions.at(-1)!;
  const version = authorityVersion(authority, findVersion(key, number).version);
  if (version !== undefined) return version;
  throw new KeyreeveError('not-found', `${key.name}@${number} has no certificate.`);
}

/** Changes how a CA is run; a shorter rhythm of CRLs takes effect at once. */
async function updateAuthority(parts: Parts, call: Call<'ca.update'>) {
  const { authorities } = parts;
  const { store } = authorities;
  const { body } = call;
  return runOnAuthority(parts, call, {
    action: 'ca.update',
    input: { settings: { ...body.settings }, revision: body.revision },
    act: async (authority, now) => {
      const { key } = authority;
      if (body.revision !== undefined && body.revision !== authority.revision) {
        throw new KeyreeveError(
          'conflict',
          `${key.name} is at revision ${authority.revision}, not ${body.revision}.`,
          { hint: 'Look at it again, then repeat the command.' },
        );
      }
      const settings = changedSettings(authority.settings, body.settings);
      await checkSettings(authorities, settings);
      const due = dueCrls(authority, settings, now);
      const changed = { ...authority, settings, revision: authority.revision + 1 };
      return {
        result: await authorities.view(changed),
        steps: [
          store.updateAuthority(authority, settings),
          ...[...due].map(([version, at]) => store.crlDueBy(key.id, version, at)),
        ],
        about: { detail: canonicalJson({ settings: { ...settings } }) },
      };
    },
  });
}

/** Versions whose next CRL has to come sooner than it was going to. */
function dueCrls(authority: Authority, settings: CaSettings, now: number): Map<number, number> {
  const due = new Map<number, number>();
  for (const { version, crlDueAt, crlPublishedAt } of authority.versions) {
    if (crlDueAt === null || crlPublishedAt === null) continue;
    const at = Math.max(now, crlPublishedAt + settings.crlEverySeconds * 1000);
    if (at < crlDueAt) due.set(version, at);
  }
  return due;
}
