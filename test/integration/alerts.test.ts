import { test } from 'node:test';
import { sufferOutage } from './alerts.fixture.ts';

test('a webhook receiver that was down gets everything, in order, though the service was killed', async (t) => {
  await sufferOutage(t, { downSeconds: 3, alerts: 3 });
});
