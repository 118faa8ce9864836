import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestKeys } from '../../keys/testing.ts';
import { waitingEntries } from '../pki.fixture.ts';
import { createTlsExpiry, tlsWarningSeconds } from './tls-expiry.ts';

test('a certificate of the service that was not renewed in time is told of once', async (t) => {
  const { storage, clock, close } = await openTestKeys();
  t.after(close);
  const tell = createTlsExpiry(storage, clock);
  const end = clock.now() + (tlsWarningSeconds + 1) * 1000;
  const told = async () => (await waitingEntries(storage)).map(({ action }) => action);
  await tell(end);
  clock.advance(0.999);
  await tell(end);
  assert.deepEqual(await told(), []);
  clock.advance(0.001);
  await tell(end);
  await tell(end);
  assert.deepEqual(await told(), ['certificate.expiring']);
  await tell(end + 1);
  assert.equal((await told()).length, 1, 'the next one has its time yet');
  clock.advance(1);
  await tell(end + 1);
  assert.equal((await told()).length, 2);
});
