import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { makeTree } from '../testing/tree.ts';
import { checkLayers } from './layers.ts';

/** A module that imports these. */
const importing = (...specifiers: string[]) =>
  specifiers.map((specifier) => `import { a } from '${specifier}';\n`).join('');

const findings = (t: TestContext, files: Record<string, string>) => checkLayers(makeTree(t, files));

test('imports down the layers through the named file are allowed', (t) => {
  const tree = {
    'api/states.ts': '',
    'server/base/errors.ts': importing('../../api/states.ts'),
    'server/crypto/crypto.ts': importing('../base/errors.ts', './limits.ts'),
    'server/crypto/limits.ts': '',
    'server/keystores/keystores.ts': importing('../crypto/crypto.ts'),
    'server/keys/keys.ts': importing('../keystores/keystores.ts', './rules/rules.ts'),
    'server/keys/rules/rules.ts': importing('../names.ts', '../../keystores/keystore.ts'),
    'server/access/access.ts': importing('../commands/commands.ts', '../keys/keys.ts'),
    'server/protocols/acme/acme.ts': importing('../../access/access.ts'),
    'server/main.ts': importing('./protocols/acme/acme.ts'),
    'client/client.ts': importing('../api/states.ts'),
    'cli/keyreeve.ts': importing('../client/client.ts', './commands/key.ts', '../server/main.ts'),
    'cli/commands/key.ts': importing('../output.ts', '../../server/storage/storage.ts'),
    'test/integration/tour.ts': importing('../../cli/output.ts', '../../server/keys/store.ts'),
  };
  assert.deepEqual(findings(t, tree), []);
});

test('an import of a layer above is found, also one of types or at run time', (t) => {
  const tree = {
    'server/storage/storage.ts': importing('../keys/keys.ts'),
    'server/crypto/crypto.ts': `export type { A } from '../keystores/keystores.ts';\n`,
    'server/pki/pki.ts': `const routes = await import('../http/http.ts');\n`,
    'server/keys/keys.ts': `import type {\n  A,\n  B,\n} from '../access/access.ts';\n`,
    'server/http/http.ts': `const worker = new URL('../main.ts', import.meta.url);\n`,
  };
  assert.deepEqual(findings(t, tree), [
    'server/crypto/crypto.ts imports server/keystores/keystores.ts: server/keystores is a layer above server/crypto',
    'server/http/http.ts imports server/main.ts: server is a layer above server/http',
    'server/keys/keys.ts imports server/access/access.ts: server/access is a layer above server/keys',
    'server/pki/pki.ts imports server/http/http.ts: server/http is a layer above server/pki',
    'server/storage/storage.ts imports server/keys/keys.ts: server/keys is a layer above server/storage',
  ]);
});

test('api and server import nothing from outside the layers', (t) => {
  const tree = {
    'api/states.ts': importing('../client/client.ts'),
    'server/http/http.ts': importing('../../cli/output.ts', '../../tools/check.ts'),
  };
  assert.deepEqual(findings(t, tree), [
    'api/states.ts imports client/client.ts: client is outside the layers',
    'server/http/http.ts imports cli/output.ts: cli is outside the layers',
    'server/http/http.ts imports tools/check.ts: tools is outside the layers',
  ]);
});

test('client and command line import only the folders listed for them', (t) => {
  const tree = {
    'client/client.ts': importing('../server/keys/keys.ts'),
    'cli/keyreeve.ts': importing('../server/http/http.ts', '../test/tools.ts'),
  };
  assert.deepEqual(findings(t, tree), [
    'cli/keyreeve.ts imports server/http/http.ts: cli may not use server/http',
    'cli/keyreeve.ts imports test/tools.ts: cli may not use test',
    'client/client.ts imports server/keys/keys.ts: client may not use server/keys',
  ]);
});

test('an import of a private file of another folder is found', (t) => {
  const tree = {
    'server/keys/keys.ts': importing('../storage/sqlite.ts', '../storage/storage.ts'),
    'server/pki/pki.ts': importing('../keys/rules/rules.ts', './linting/rsa.ts'),
    'server/http/http.ts': importing('../protocols/acme/orders.ts'),
    'cli/keyreeve.ts': importing('../client/transport.ts', '../server/storage/sqlite.ts'),
  };
  assert.deepEqual(findings(t, tree), [
    'cli/keyreeve.ts imports server/storage/sqlite.ts: enter the folder through server/storage/storage.ts',
    'server/http/http.ts imports server/protocols/acme/orders.ts: enter the folder through server/protocols/acme/acme.ts',
    'server/keys/keys.ts imports server/storage/sqlite.ts: enter the folder through server/storage/storage.ts',
    'server/pki/pki.ts imports server/keys/rules/rules.ts: enter the folder through server/keys/keys.ts',
    'server/pki/pki.ts imports server/pki/linting/rsa.ts: enter the folder through server/pki/linting/linting.ts',
  ]);
});

test('the file named after a folder may stand beside it', (t) => {
  const tree = { 'api/routes.ts': importing('./routes/keys.ts'), 'api/routes/keys.ts': '' };
  assert.deepEqual(findings(t, tree), []);
});

test('a folder without a place in the table is found', (t) => {
  const tree = { 'server/helpers/helpers.ts': importing('../base/errors.ts') };
  assert.deepEqual(findings(t, tree), [
    'server/helpers has no place in tools/checks/layer-table.ts',
  ]);
});

test('tests may import anything', (t) => {
  const tree = {
    'server/keys/keys.test.ts': importing('../storage/sqlite.ts', '../http/http.ts'),
    'server/keys/testing.ts': importing('../storage/sqlite.ts'),
    'server/keys/keys.fixture.ts': importing('../../test/tools.ts'),
  };
  assert.deepEqual(findings(t, tree), []);
});

test('text that looks like an import inside a string or a comment is none', (t) => {
  const tree = {
    'server/base/errors.ts': `// import { a } from '../keys/keys.ts';\nconst b = "import '../http/http.ts'";\n`,
  };
  assert.deepEqual(findings(t, tree), []);
});
