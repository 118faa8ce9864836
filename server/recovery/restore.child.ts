/** A process that restores a backup, to be killed by a test: file, folder of the host, place. */
import { passphrase, placeIn } from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';

const [file = '', host = '', name = '', databaseUrl = ''] = process.argv.slice(2);
process.stdout.write('begun\n');
await restoreBackup({
  file,
  passphrase: passphrase(),
  config: placeIn(host, name, {
    keyFiles: 'files',
    ...(databaseUrl === '' ? {} : { databaseUrl }),
  }),
});
process.stdout.write('done\n');
