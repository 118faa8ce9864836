/** A service of the tests that is killed: it tells again and again which process has its module. */
import { openKeystore } from './keystore.fixture.ts';

const keystore = openKeystore(process.argv[2]!);
for (;;) {
  await keystore.health();
  process.stdout.write(`${keystore.metrics().pid}\n`);
  await new Promise((resolve) => setTimeout(resolve, 50));
}
