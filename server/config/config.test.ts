import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import { isKeyreeveError } from '../base/errors.ts';
import { checkConfig, type Environment, loadConfig, settingsTable } from './config.ts';
import { settingNames } from './settings.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyreeve-config-'));
after(() => rmSync(folder, { recursive: true }));
const clone = join(folder, 'clone');
mkdirSync(join(clone, 'tools'), { recursive: true });
const installed = join(folder, 'installed');
mkdirSync(installed);

const options = { workingFolder: folder, packageFolder: clone };
let files = 0;

function file(content: unknown, mode = 0o600): string {
  const path = join(folder, `config-${++files}.json`);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  chmodSync(path, mode);
  return path;
}

function load(environment: Environment) {
  return loadConfig(environment, options);
}

/** What is wrong, as `setting: problem hint`. */
function findings(environment: Environment): string[] {
  return checkConfig(environment, options).findings.map(
    (one) => `${one.setting}: ${one.problem} ${one.hint ?? ''}`,
  );
}

function refuses(environment: Environment, pattern: RegExp): void {
  assert.match(findings(environment).join('\n'), pattern);
  assert.throws(
    () => load(environment),
    (error) => isKeyreeveError(error, 'config-invalid'),
  );
}

test('with nothing set the defaults hold', () => {
  const config = load({});
  const data = join(clone, 'data');
  assert.deepEqual(
    { ...config },
    {
      file: undefined,
      data,
      seal: { kind: 'path', path: `${data}.seal` },
      listen: '127.0.0.1',
      port: 8443,
      tlsNames: [],
      databaseUrl: undefined,
      checkpoints: `${data}.seal`,
      archive: join(data, 'archive'),
      httpPort: 8080,
      pkiUrl: undefined,
      logLevel: 'info',
      container: false,
      storageTable: 'default',
      fileKeystore: undefined,
      pkcs11Modules: ['/usr/lib', '/usr/lib64', '/usr/local/lib', '/usr/local/lib64', '/opt'],
    },
  );
});

test('an installed package keeps its data in /var/lib/keyreeve', () => {
  const config = loadConfig({}, { workingFolder: folder, packageFolder: installed });
  assert.equal(config.data, '/var/lib/keyreeve');
  assert.deepEqual(config.seal, { kind: 'path', path: '/var/lib/keyreeve.seal' });
});

test('the package folder is found where it is not given: this is a clone', () => {
  const root = join(import.meta.dirname, '..', '..');
  assert.equal(loadConfig({}, { workingFolder: folder }).data, join(root, 'data'));
});

test('the environment is read, an empty variable counts as unset', () => {
  const config = load({
    KEYREEVE_DATA: 'here',
    KEYREEVE_PORT: '0',
    KEYREEVE_LISTEN: '::',
    KEYREEVE_LOG_LEVEL: 'debug',
    KEYREEVE_TLS_NAMES: 'keys.example.org, 192.0.2.7',
    KEYREEVE_ARCHIVE: '/srv/cold',
    KEYREEVE_CHECKPOINTS: '',
    PATH: '/usr/bin',
  });
  assert.equal(config.data, join(folder, 'here'));
  assert.equal(config.port, 0);
  assert.equal(config.listen, '::');
  assert.equal(config.logLevel, 'debug');
  assert.deepEqual(config.tlsNames, ['keys.example.org', '192.0.2.7']);
  assert.equal(config.archive, '/srv/cold');
  assert.equal(config.checkpoints, `${join(folder, 'here')}.seal`);
});

test('the file is read, its relative paths start at the file, and the environment wins', () => {
  const sub = join(folder, 'etc');
  mkdirSync(sub, { recursive: true });
  const path = join(sub, 'keyreeve.json');
  writeFileSync(
    path,
    JSON.stringify({
      KEYREEVE_DATA: 'state',
      KEYREEVE_PORT: 9443,
      KEYREEVE_TLS_NAMES: ['a.b', '::1'],
    }),
    { mode: 0o644 },
  );
  chmodSync(path, 0o644);
  const config = load({ KEYREEVE_CONFIG: 'etc/keyreeve.json', KEYREEVE_PORT: '9444' });
  assert.equal(config.file, path);
  assert.equal(config.data, join(sub, 'state'));
  assert.equal(config.port, 9444);
  assert.deepEqual(config.tlsNames, ['a.b', '::1']);
  assert.equal(loadConfig({}, { ...options, configFile: path }).port, 9443);
});

test('plain HTTP has a port of its own, any free one, or none', () => {
  assert.equal(load({ KEYREEVE_HTTP_PORT: '80' }).httpPort, 80);
  assert.equal(load({ KEYREEVE_HTTP_PORT: '0', KEYREEVE_PORT: '0' }).httpPort, 0);
  assert.equal(load({ KEYREEVE_HTTP_PORT: 'off' }).httpPort, undefined);
  refuses({ KEYREEVE_HTTP_PORT: '8443' }, /both 8443.*port of its own/);
  refuses({ KEYREEVE_HTTP_PORT: '443', KEYREEVE_PORT: '443' }, /both 443/);
  refuses({ KEYREEVE_HTTP_PORT: '65536' }, /above 65535/);
  for (const wrong of ['OFF', '-1', 'http']) {
    refuses({ KEYREEVE_HTTP_PORT: wrong }, /neither the number of a port nor "off"/);
  }
});

test('addresses in certificates begin with a plain http:// address', () => {
  const read = (url: string) => load({ KEYREEVE_PKI_URL: url }).pkiUrl;
  assert.equal(load({}).pkiUrl, undefined);
  assert.equal(read('http://PKI.example.org/'), 'http://pki.example.org');
  assert.equal(read('http://pki.example.org:80//'), 'http://pki.example.org');
  assert.equal(read('http://192.0.2.1:8080/public/pki/'), 'http://192.0.2.1:8080/public/pki');
  assert.equal(read('http://[2001:db8::1]:8080'), 'http://[2001:db8::1]:8080');
  for (const [wrong, pattern] of [
    ['https://pki.example.org', /does not begin with http:\/\//],
    ['ldap://pki.example.org', /does not begin with http:\/\//],
    ['pki.example.org', /is not an address/],
    ['http://', /is not an address/],
    ['http://user:hunter2@pki.example.org', /user name or a password/],
    ['http://pki.example.org/?ca=1', /query or a fragment/],
    ['http://pki.example.org/#', /query or a fragment/],
    ['http://pki..example.org', /no host that could be reached/],
    ['http://*.example.org', /no host that could be reached/],
    ['http://pki_x.example.org', /no host that could be reached/],
    ['http://pki.example.org:0', /no host that could be reached/],
    ['http://pki.example.org/\u00e4', /beside those of ASCII/],
    [`http://pki.example.org/${'x'.repeat(200)}`, /longer than 200/],
  ] as const) {
    refuses({ KEYREEVE_PKI_URL: wrong }, pattern);
  }
});

test('the root key comes from a folder, a variable or a credential', () => {
  assert.deepEqual(load({ KEYREEVE_SEAL: '/mnt/seal' }).seal, { kind: 'path', path: '/mnt/seal' });
  assert.equal(load({ KEYREEVE_SEAL: '/mnt/seal' }).checkpoints, '/mnt/seal');
  const fromVariable = load({
    KEYREEVE_SEAL: 'env:KEYREEVE_ROOT',
    KEYREEVE_ROOT: 'x',
    KEYREEVE_DATA: '/d',
  });
  assert.deepEqual(fromVariable.seal, { kind: 'env', variable: 'KEYREEVE_ROOT' });
  assert.equal(fromVariable.checkpoints, '/d.seal');
  assert.deepEqual(
    load({ KEYREEVE_SEAL: 'credential:root', CREDENTIALS_DIRECTORY: '/run/credentials/k' }).seal,
    { kind: 'credential', name: 'root', path: '/run/credentials/k/root' },
  );
  refuses({ KEYREEVE_SEAL: 'env:' }, /no name of a variable/);
  const uri = 'pkcs11:token=T;object=root?module-path=/usr/lib/m.so&pin-source=file:/pin';
  const inToken = load({ KEYREEVE_SEAL: uri });
  assert.deepEqual(inToken.seal, { kind: 'pkcs11', uri });
  assert.equal(inToken.checkpoints, `${inToken.data}.seal`);
  refuses({ KEYREEVE_SEAL: uri.replace(';object=root', '') }, /add object=NAME/);
  refuses({ KEYREEVE_SEAL: 'env:NOT_THERE' }, /NOT_THERE, which is not set/);
  refuses({ KEYREEVE_SEAL: 'credential:../x' }, /no name of a credential/);
  refuses({ KEYREEVE_SEAL: 'credential:root' }, /CREDENTIALS_DIRECTORY is not set.*LoadCredential/);
});

test('a container has to be told where the root key is', () => {
  refuses({ KEYREEVE_CONTAINER: '1' }, /KEYREEVE_SEAL is not set.*Mount a second volume/);
  assert.equal(load({ KEYREEVE_CONTAINER: '1', KEYREEVE_SEAL: '/mnt/seal' }).container, true);
  assert.equal(load({ KEYREEVE_CONTAINER: '0' }).container, false);
  refuses({ KEYREEVE_CONTAINER: 'yes' }, /neither 0 nor 1/);
});

test('root key and checkpoints are refused inside the data folder', () => {
  refuses({ KEYREEVE_DATA: '/d', KEYREEVE_SEAL: '/d/seal' }, /KEYREEVE_SEAL \(\/d\/seal\) is in/);
  refuses({ KEYREEVE_DATA: '/d', KEYREEVE_SEAL: '/d' }, /KEYREEVE_SEAL \(\/d\) is in/);
  refuses({ KEYREEVE_DATA: '/d', KEYREEVE_CHECKPOINTS: '/d/c' }, /KEYREEVE_CHECKPOINTS .* is in/);
  assert.equal(load({ KEYREEVE_DATA: '/d', KEYREEVE_CHECKPOINTS: '/data2' }).checkpoints, '/data2');
});

test('wrong values are refused without repeating them', () => {
  for (const [name, wrong, pattern] of [
    ['KEYREEVE_PORT', '65536', /above 65535/],
    ['KEYREEVE_PORT', '-1', /not a number/],
    ['KEYREEVE_PORT', '84x43', /not a number/],
    ['KEYREEVE_LISTEN', 'localhost', /not an IP address/],
    ['KEYREEVE_LOG_LEVEL', 'loud', /not one of trace, debug/],
    ['KEYREEVE_STORAGE_TABLE', 'strict', /not one of default, enforced/],
    ['KEYREEVE_PKCS11_MODULES', 'lib:/usr/lib', /not a list of absolute paths/],
    ['KEYREEVE_DATABASE_URL', 'mysql://root:hunter2@db/x', /postgresql:\/\/user@host/],
    ['KEYREEVE_TLS_NAMES', 'good.example bad_name!', /neither a DNS name nor an IP/],
    ['KEYREEVE_TLS_NAMES', Array.from({ length: 51 }, (_, i) => `h${i}`).join(), /more than 50/],
    ['KEYREEVE_DATA', 'x'.repeat(4097), /too long/],
    ['CRYPTO_CURRENT_KEY_ID', '../../etc/passwd', /not the name of a key/],
  ] as const) {
    refuses({ [name]: wrong }, pattern);
    assert.ok(
      !findings({ [name]: wrong })
        .join()
        .includes(wrong),
      name,
    );
  }
});

test('all findings come at once', () => {
  assert.equal(findings({ KEYREEVE_PORT: 'x', KEYREEVE_LISTEN: 'y', KEYREEVE_NEW: 'z' }).length, 3);
});

test('unknown names are refused and the nearest known one is named', () => {
  refuses({ KEYREEVE_PROT: '1' }, /KEYREEVE_PROT .*not a setting. Did you mean KEYREEVE_PORT\?/);
  refuses({ KEYREEVE_SOMETHING_ELSE_ENTIRELY: '1' }, /not a setting/);
  refuses({ CRYPTO_KEY_PATH: '/k' }, /Did you mean CRYPTO_KEYS_PATH/);
  refuses({ KEYREEVE_CONFIG: file({ KEYREEVE_DATABASE: 'x' }) }, /Did you mean KEYREEVE_DATA/);
  refuses({ KEYREEVE_CONFIG: file({ port: 1 }) }, /port .* is not a setting/);
  assert.deepEqual(
    findings({
      CRYPTO_WALLET_SEED: 'somebody else’s',
      KEYREEVE_TEST_NO_SKIP: '1',
      KEYREEVE_URL: 'https://x',
      KEYREEVE_TOKEN: 'x',
      KEYREEVE_CERT_FILE: 'x',
      KEYREEVE_KEY_FILE: 'x',
      KEYREEVE_CA_FILE: 'x',
    }),
    [],
  );
});

test('settings of the command line and of the image are refused in the file', () => {
  for (const name of ['KEYREEVE_TOKEN', 'KEYREEVE_CONFIG', 'KEYREEVE_CONTAINER']) {
    refuses({ KEYREEVE_CONFIG: file({ [name]: '1' }) }, new RegExp(`${name} cannot be set in`));
  }
});

test('a file that cannot be used is refused', () => {
  refuses({ KEYREEVE_CONFIG: join(folder, 'missing') }, /cannot be read \(ENOENT\)/);
  refuses({ KEYREEVE_CONFIG: file('{not json') }, /is not JSON/);
  refuses({ KEYREEVE_CONFIG: file('[1]') }, /does not hold one JSON object/);
  refuses({ KEYREEVE_CONFIG: file(`{"a":"${'x'.repeat(65_536)}"}`) }, /larger than/);
  refuses({ KEYREEVE_CONFIG: file({ KEYREEVE_DATA: { deep: 1 } }) }, /neither a text nor a number/);
  refuses({ KEYREEVE_CONFIG: file({ KEYREEVE_PORT: 1 }, 0o666) }, /written by others. chmod go-w/);
});

test('a file with the address of the database has to be private', () => {
  const content = { KEYREEVE_DATABASE_URL: 'postgresql://k:hunter2@db/keyreeve' };
  refuses({ KEYREEVE_CONFIG: file(content, 0o644) }, /read by others. chmod 600/);
  const config = load({ KEYREEVE_CONFIG: file(content) });
  assert.equal(config.databaseUrl?.reveal().toString(), content.KEYREEVE_DATABASE_URL);
  assert.ok(!JSON.stringify(config).includes('hunter2'));
  assert.ok(!inspect(config, { depth: null }).includes('hunter2'));
});

test('the CRYPTO_ settings: set, unset, wrong, conflicting', () => {
  assert.deepEqual(
    load({
      CRYPTO_KEYS_PATH: 'keys',
      CRYPTO_CURRENT_KEY_ID: 'rsa-2024-01',
      CRYPTO_KEY_PASSPHRASE_FILE: '/run/passphrase',
      CRYPTO_USE_KMS: 'false',
    }).fileKeystore,
    {
      folder: join(folder, 'keys'),
      currentKeyId: 'rsa-2024-01',
      passphraseFile: '/run/passphrase',
    },
  );
  assert.deepEqual(load({ CRYPTO_KEYS_PATH: '/k' }).fileKeystore, {
    folder: '/k',
    currentKeyId: undefined,
    passphraseFile: undefined,
  });
  refuses({ CRYPTO_CURRENT_KEY_ID: 'rsa-1' }, /CRYPTO_KEYS_PATH, the folder it is about, is not/);
  refuses({ CRYPTO_KEY_PASSPHRASE_FILE: '/p' }, /Set CRYPTO_KEYS_PATH, or unset/);
  refuses({ CRYPTO_USE_KMS: 'true' }, /cloud services are not in this version/);
  refuses({ CRYPTO_USE_KMS: 'perhaps' }, /neither true nor false/);
  refuses({ CRYPTO_KEYS_PATH: '/k', CRYPTO_KMS_REGION: 'us-east-1' }, /CRYPTO_KMS_REGION is not/);
  refuses({ CRYPTO_KMS_KEY_ID: 'arn:x' }, /CRYPTO_KMS_KEY_ID is not supported/);
  refuses(
    { CRYPTO_KEY_PASSPHRASE: 'hunter2' },
    /mode 0600 and name it in CRYPTO_KEY_PASSPHRASE_FILE/,
  );
  assert.ok(!findings({ CRYPTO_KEY_PASSPHRASE: 'hunter2' }).join().includes('hunter2'));
});

test('the manual has the table of settings as the code has it', () => {
  const manual = readFileSync(
    join(import.meta.dirname, '..', '..', 'docs', 'configuration.md'),
    'utf8',
  );
  assert.ok(manual.includes(`${settingsTable()}\n`));
  assert.equal(settingsTable().split('\n').length, settingNames.length + 2);
});
