import { test } from 'node:test';
import { sufferOutage } from './alerts.fixture.ts';

test('a webhook receiver that was down for a minute gets everything, in order', async (t) => {
  await sufferOutage(t, { downSeconds: 60, alerts: 100 });
});
