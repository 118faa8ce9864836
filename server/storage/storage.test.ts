import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { jobsSuite } from './jobs.suite.ts';
import { openingSuite } from './opening.suite.ts';
import type { Place } from './storage.fixture.ts';
import { type SuiteEngine, storageSuite } from './storage.suite.ts';

const root = mkdtempSync(join(tmpdir(), 'keyreeve-storage-'));
let places = 0;
let server: TestPostgres | undefined;

after(() => {
  server?.remove();
  rmSync(root, { recursive: true, force: true });
});

const newFolder = () => join(root, `data-${++places}`);
const databaseOf = ({ dataFolder }: Place) => join(dataFolder, 'keyreeve.db');

const sqlite: SuiteEngine = {
  name: 'SQLite',
  serves: 'one',
  place: () => ({ dataFolder: newFolder() }),
  lose: (place) => renameSync(databaseOf(place), join(root, 'away')),
  giveBack: (place) => renameSync(join(root, 'away'), databaseOf(place)),
};

const postgres: SuiteEngine = {
  name: 'PostgreSQL',
  serves: 'many',
  place: () => ({ dataFolder: root, databaseUrl: server!.createDatabase(`place_${++places}`) }),
  lose: () => server!.stop(),
  giveBack: () => server!.start(),
};

storageSuite(sqlite);
openingSuite(sqlite);
jobsSuite(sqlite);

test('PostgreSQL starts for the suite', (t) => {
  server = startPostgres(t);
  if (server === undefined) return;
  storageSuite(postgres);
  openingSuite(postgres);
  jobsSuite(postgres);
});
