import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtInProfileNames, profile as profileSchema } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { openTestAuthorities } from './testing.ts';

const refused = (code: string, text = /./) => ({ code, message: text });

const badge = {
  name: 'badge',
  title: 'Badge',
  what: 'Opens doors.',
  subject: { allowed: ['CN'], required: ['CN'] },
  keyUsage: ['digitalSignature'],
  extendedKeyUsage: ['clientAuth', '1.2.3.4'],
  validitySeconds: 3600,
  validitySecondsMax: 7200,
};

test('a profile of one’s own is made, used, changed and removed', async () => {
  await using opened = await profiles();
  const { apply, remove, list, show, authorities } = opened;
  assert.equal((await apply(badge)).isBuiltIn, false);
  assert.deepEqual(await list(), [...builtInProfileNames, 'badge']);
  assert.equal((await authorities.profile('badge')).validitySecondsMax, 7200);
  await apply({ ...badge, validitySecondsMax: 8000 });
  assert.equal((await authorities.profile('badge')).validitySecondsMax, 8000, 'read afresh');
  assert.deepEqual(await show('badge'), {
    ...profileSchema.parse({ ...badge, validitySecondsMax: 8000 }),
    isBuiltIn: false,
  });
  assert.equal((await show('tls-server')).isBuiltIn, true);
  assert.deepEqual(await remove('badge'), { removed: 'badge' });
  await assert.rejects(show('badge'), refused('unknown-profile', /no profile "badge"/));
  await assert.rejects(remove('badge'), refused('not-found'));
  assert.deepEqual(await list(), builtInProfileNames);
});

test('what is built in stays, and what would break a standard is refused', async () => {
  await using opened = await profiles();
  const { apply, remove, list } = opened;
  for (const name of [...builtInProfileNames, 'cross']) {
    await assert.rejects(apply({ ...badge, name }), refused('profile-not-allowed', /built in/));
    await assert.rejects(remove(name), refused('profile-not-allowed'));
  }
  const authority = { isAuthority: true, keyUsage: ['keyCertSign', 'cRLSign'] };
  const bad: [object, RegExp, string?][] = [
    [{ validitySeconds: 7201 }, /validity is longer/],
    [{ isAuthority: true }, /keyCertSign/],
    [{ keyUsage: ['keyCertSign'] }, /keyCertSign/],
    [{ keyUsage: ['cRLSign'] }, /cRLSign/],
    [{ pathLengthMax: 1 }, /path length/],
    [{ ...authority, subject: { allowed: ['CN'] } }, /subject of a CA/],
    [{ keyUsage: ['digitalSignature', 'encipherOnly'] }, /keyAgreement/],
    [{ subject: { allowed: ['CN'], required: ['O'] } }, /requires O/],
    [{ names: { allowed: [], required: true } }, /requires a name/],
    [{ names: { allowed: ['ip'], wildcards: true } }, /wildcards/],
    [{ names: { allowed: [], commonNameIsName: true } }, /common name/],
    [{ subject: { allowed: [] } }, /nobody/],
    [{ extendedKeyUsage: [], extendedKeyUsageCritical: true }, /no extended key usage/],
    [{ extendedKeyUsage: ['clientAuth', '2.5.29.37.0'] }, /limits nothing/],
    [{ extendedKeyUsage: ['timeStamping'] }, /stands alone and is critical/],
    [
      { extendedKeyUsage: ['1.3.6.1.5.5.7.3.8', 'clientAuth'], extendedKeyUsageCritical: true },
      /stands alone/,
    ],
    [{ ocspNoCheck: true }, /OCSP/],
    [{ algorithms: ['rsa-9'] }, /rsa-9/, 'unknown-algorithm'],
    [{ algorithms: ['aes-256'] }, /aes-256/, 'unknown-algorithm'],
    [{ algorithms: ['x25519'] }, /sign nothing/, 'unknown-algorithm'],
  ];
  for (const [change, text, code = 'invalid-request'] of bad) {
    await assert.rejects(apply({ ...badge, ...change }), refused(code, text));
  }
  assert.deepEqual(await list(), builtInProfileNames);
  // Each of them, mended.
  await apply({ ...badge, name: 'sub', ...authority, pathLengthMax: 0 });
  await apply({ ...badge, extendedKeyUsage: ['timeStamping'], extendedKeyUsageCritical: true });
  await apply({ ...badge, extendedKeyUsage: ['OCSPSigning'], ocspNoCheck: true });
  await apply({ ...badge, algorithms: ['p-256', 'ml-dsa-65'] });
});

test('profiles are shown and changed by those who may', async () => {
  await using opened = await profiles();
  const { apply, remove, list, show, rights } = opened;
  await apply(badge);
  const asked: string[] = [];
  rights.authorise = (_caller, action, resource) => {
    asked.push(`${action} ${resource.type}`);
    throw new KeyreeveError('forbidden', 'Not you.');
  };
  const attempts = [() => apply(badge), () => remove('badge'), list, () => show('nothing')];
  for (const attempt of attempts) {
    await assert.rejects(attempt(), refused('forbidden'));
  }
  assert.deepEqual(asked.sort(), [
    'profile.apply system',
    'profile.apply system',
    'profile.show system',
    'profile.show system',
  ]);
});

test('a profile that two change at once is changed by one after the other, or refused', async () => {
  await using opened = await profiles();
  const { apply } = opened;
  const outcomes = await Promise.allSettled([apply(badge), apply(badge), apply(badge)]);
  assert.ok(outcomes.some(({ status }) => status === 'fulfilled'));
  for (const each of outcomes) {
    if (each.status === 'rejected') assert.equal(each.reason.code, 'conflict');
  }
  await apply(badge);
});

async function profiles() {
  const opened = await openTestAuthorities();
  const { by, caller } = opened;
  return {
    ...opened,
    apply: (body: object) => by(caller(), 'profile.apply', { body: profileSchema.parse(body) }),
    remove: (name: string) => by(caller(), 'profile.remove', { params: { profile: name } }),
    show: (name: string) => by(caller(), 'profile.show', { params: { profile: name } }),
    list: async () => {
      const { items } = await by(caller(), 'profile.list', {});
      return items.map(({ name }) => name);
    },
    [Symbol.asyncDispose]: opened.close,
  };
}
