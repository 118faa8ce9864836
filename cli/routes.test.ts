import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { formatLoginCode } from '../api/login-code.ts';
import { type RouteId, routes } from '../api/routes.ts';
import { certificatePin } from '../client/pin.ts';
import { testCli } from '../test/doubles/command-line.ts';
import { json } from '../test/doubles/https-service.ts';
import { loggedIn } from '../test/doubles/logged-in.ts';
import { buildProgram } from './program.ts';
import { commandTree, flatten } from './tree.ts';

type SingleRouteId = Exclude<RouteId, `${string}.batch`>;

const raw = '--in message --out made';
const making = 'k --algorithm p-256 --purpose sign';
const takingOver = 'ca import c --key message --certificate ca.pem --index index.txt';

/**
 * The command that calls each route, with words that reach the service. A `.batch` route has the
 * command of its single one: batches are for programs that hold many small items, not for files.
 */
const commandOf = {
  'key.create': `key create ${making}`,
  'key.import': `key import ${making} --in message`,
  'key.adopt': 'key adopt k --keystore hsm --object LABEL --purpose sign',
  'key.list': 'key list',
  'key.show': 'key show k',
  'key.public': 'key public k --out made',
  'key.update': 'key update k --owner ada',
  'key.rotate': 'key rotate k',
  'key.state': 'key state k@1 suspended',
  'key.destroy': 'key destroy k --yes',
  'key.cancel-destroy': 'key cancel-destroy k',
  'key.sign': `sign k ${raw}`,
  'key.verify': 'verify k --in message --signature message',
  'key.encrypt': `encrypt k --raw ${raw}`,
  'key.decrypt': `decrypt k --raw ${raw}`,
  'key.re-encrypt': `re-encrypt k ${raw}`,
  'key.data-key': 'data-key k --out-wrapped made',
  'key.mac': `mac k ${raw}`,
  'key.verify-mac': 'verify-mac k --in message --mac message',
  'key.wrap': `wrap k ${raw}`,
  'key.unwrap': `unwrap k ${raw}`,
  'key.agree': 'agree k --peer peer.pub --out made',
  'key.encapsulate': 'encapsulate k --out made --out-ciphertext made.too',
  'key.decapsulate': `decapsulate k ${raw}`,
  'random.make': 'random 16',
  login: 'login --code CODE',
  'ca.create': 'ca create c --subject CN=c --algorithm p-256',
  'ca.list': 'ca list',
  'ca.show': 'ca show c',
  'ca.chain': 'ca chain c',
  'ca.update': 'ca update c --crl-every 1h',
  'ca.rekey': 'ca rekey c',
  'ca.renew': 'ca renew c',
  'ca.import': takingOver,
  'ca.import-certificates': takingOver,
  'ca.import-finish': takingOver,
  'crl.get': 'crl get --ca c --out made',
  'crl.publish': 'crl publish --ca c',
  'profile.list': 'profile list',
  'profile.show': 'profile show tls-server',
  'profile.apply': 'profile apply profile.json',
  'profile.remove': 'profile remove mine',
  'certificate.issue': 'cert issue --ca c --profile tls-server --csr message --out made',
  'certificate.list': 'cert list',
  'certificate.export': 'cert export --out made',
  'certificate.show': 'cert show 1f',
  'certificate.revoke': 'cert revoke 1f --reason keyCompromise',
  'certificate.release': 'cert release 1f',
  'certificate.purge': 'cert purge --ca c --expired-before 90d --yes',
  'certificate.block-key': 'cert block-key peer.pub --reason leaked',
  'certificate.blocked-keys': 'cert blocked-keys',
  'certificate.unblock-key': `cert unblock-key ${'ab'.repeat(32)}`,
  'keystore.add': 'keystore add hsm --uri pkcs11:token=t?module-path=/usr/lib/m.so',
  'keystore.group': 'keystore group both --primary a --secondary b',
  'keystore.list': 'keystore list',
  'keystore.show': 'keystore show wrapped',
  'keystore.test': 'keystore test wrapped',
  'keystore.drill': 'keystore drill hsm',
  'keystore.update': 'keystore update hsm --review-every-days 90',
  'keystore.access': 'keystore review hsm --look',
  'keystore.review': 'keystore review hsm --yes',
  'keystore.remove': 'keystore remove hsm',
  'principal.create': 'principal create ada --kind person',
  'principal.list': 'principal list',
  'principal.show': 'principal show me',
  'principal.update': 'principal disable ada',
  'principal.enrol': 'principal enrol ada',
  'principal.bind': 'principal bind ada --ca c --dns ada.example.org',
  'principal.bindings': 'principal bindings ada',
  'principal.unbind': 'principal unbind bnd_1',
  'token.create': 'token create --ttl 1h',
  'token.list': 'token list',
  'token.revoke': 'token revoke current',
  'access.apply': 'access apply rule-folder',
  'access.show': 'access show',
  'alert.add': 'alert add siem --syslog tls://logs.example.org:6514',
  'alert.list': 'alert list',
  'alert.show': 'alert show siem',
  'alert.update': 'alert update siem --severity error',
  'alert.remove': 'alert remove siem',
  'alert.test': 'alert test siem',
  'approval.list': 'approval list',
  'approval.show': 'approval show apr_1',
  'approval.approve': `approval approve apr_1 --yes --digest ${'ab'.repeat(32)}`,
  'approval.reject': 'approval reject apr_1 --reason no',
  'approval.withdraw': 'approval withdraw apr_1',
  'approval.rules.show': 'approval rules show',
  'approval.rules.apply': 'approval rules apply profile.json',
  'audit.list': 'audit list',
  'audit.entry': 'audit show 0',
  'audit.checkpoint': 'audit checkpoint --out made',
  'audit.export': 'audit export record',
  'audit.verify': 'audit verify',
  'audit.retain': 'audit retain --before 365d',
  status: 'status',
  'backup.create': 'backup create made --recipient age1x',
  'root-key.move': 'root-key move env:SAMPLE --online',
} as const satisfies Record<SingleRouteId, string>;

/** Commands that ask no service, or not this one's API. */
const withoutRoute = new Set([
  'alert kinds',
  'cert request',
  'login-code',
  'logout',
  'backup verify',
  'backup restore',
  'upgrade',
  'config check',
  'serve',
  'completion',
  'man',
]);

test('every route is called by a command', async (t) => {
  const missing = Object.keys(routes).filter((id) => {
    const single = id.replace(/\.batch$/, '');
    return !Object.hasOwn(commandOf, single);
  });
  assert.deepEqual(missing, [], 'these routes have no command');
  for (const [id, words] of Object.entries(commandOf)) {
    await t.test(`${id}: keyreeve ${words}`, (inner) => requestsOf(inner, id as RouteId, words));
  }
});

test('every command calls a route, or is known to need none', (t) => {
  const world = testCli(t).context();
  const program = commandTree(buildProgram({ context: world, exitCode: 0 }));
  const called = Object.values(commandOf);
  // Another way to call a route that has its command already.
  const others = new Set(['principal update', 'principal enable']);
  const strange = flatten(program)
    .filter((node) => node.children.length === 0)
    .map((node) => node.path.join(' '))
    .filter((path) => !withoutRoute.has(path) && !others.has(path))
    .filter((path) => !called.some((words) => `${words} `.startsWith(`${path} `)));
  assert.deepEqual(strange, []);
});

/** What a command looks at before it makes the call that it is for. */
function answerBefore(url: string): object {
  const keystoreAccess = { principals: [], folders: [], digest: 'ab'.repeat(32) };
  const approval = {
    ...{ id: 'apr_1', digest: 'ab'.repeat(32), command: {}, subject: 'k', requester: {} },
    ...{ requirements: [], decisions: [] },
  };
  if (/^\/api\/v1\/keystores\/[^/]+\/access$/.test(url)) return keystoreAccess;
  return /^\/api\/v1\/approvals\/[^/]+$/.test(url) ? approval : {};
}

/** Runs the command against a service that refuses all, and looks at what reached it. */
async function requestsOf(t: TestContext, id: RouteId, words: string): Promise<void> {
  const { cli, service, file } = await loggedIn(t, (request, response) =>
    json(response, answerBefore(request.url)),
  );
  writeFileSync(file('message'), 'hello');
  mkdirSync(file('rule-folder'));
  writeFileSync(join(file('rule-folder'), 'a.cedar'), 'permit(principal, action, resource);');
  const { publicKey } = generateKeyPairSync('x25519');
  writeFileSync(file('peer.pub'), publicKey.export({ format: 'pem', type: 'spki' }));
  writeFileSync(file('profile.json'), '{"rules":[]}');
  writeFileSync(file('index.txt'), 'V\t400101000000Z\t\t1000\tunknown\t/CN=a\n');
  const inputs = ['message', 'rule-folder', 'peer.pub', 'profile.json', 'ca.pem', 'index.txt'];
  const names = [...inputs, 'made', 'made.too', 'record'];
  const code = formatLoginCode(Buffer.alloc(16), certificatePin(service.ca.x509).toString('hex'));
  await cli.run(
    words
      .split(' ')
      .map((word) => (names.includes(word) ? file(word) : word))
      .map((word) => (word === 'CODE' ? code : word)),
  );
  const { method, path } = routes[id];
  const pattern = new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}(\\?|$)`);
  const found = service.requests.some((one) => one.method === method && pattern.test(one.url));
  const seen = service.requests.map((one) => `${one.method} ${one.url}`);
  assert.ok(found, `${method} ${path} was not called, but: ${seen.join(', ') || 'nothing'}`);
}
