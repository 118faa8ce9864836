import assert from 'node:assert/strict';
import { test } from 'node:test';
import { caSettings } from '../../../api/routes/authorities.ts';
import {
  builtIn,
  customProfile,
  day,
  issuerFacts,
  now,
  planned,
  refused,
  rootAuthority,
  wanted,
} from './rules.fixture.ts';

const second = Math.floor(now / 1000) * 1000;
const client = builtIn('tls-client');
const root = rootAuthority();
const issuer = issuerFacts(root);

function validity(asked: Parameters<typeof wanted>[2], profile = client, facts = issuer, at = now) {
  const { notBefore, notAfter } = planned(profile, facts, wanted('CN=x', [], asked), at);
  // Seconds before and after the moment of issuance.
  return [(notBefore - second) / 1000, (notAfter - second) / 1000];
}

test('a validity that nobody asks for is the profile\u2019s, and begins a little before', () => {
  assert.deepEqual(validity({}), [-300, 365 * day - 1]);
});

test('a validity that is asked for is kept', () => {
  assert.deepEqual(validity({ validitySeconds: 3600 }), [-300, 3599]);
  assert.deepEqual(validity({ notAfter: second + 7_000_400 }), [-300, 7000]);
});

test('one at the limit of the profile begins the later, one beyond it is refused', () => {
  const most = client.validitySecondsMax;
  assert.deepEqual(validity({ validitySeconds: most }), [0, most - 1]);
  assert.deepEqual(validity({ validitySeconds: most - 100 }), [-100, most - 101]);
  refused('validity-not-allowed', /longer than/, () => validity({ validitySeconds: most + 1 }));
  refused('validity-not-allowed', /longer than/, () =>
    validity({ notAfter: second + most * 1000 }),
  );
});

test('the settings of the CA limit it as well', () => {
  const facts = { ...issuer, settings: caSettings.parse({ validitySecondsMax: 10 * day }) };
  assert.deepEqual(validity({}, client, facts), [-300, 10 * day - 301]);
  refused('validity-not-allowed', /864000 seconds/, () =>
    validity({ validitySeconds: 10 * day + 1 }, client, facts),
  );
});

test('a validity shorter than the time before is not eaten up by it', () => {
  const brief = customProfile({ validitySeconds: 60, validitySecondsMax: 60 });
  assert.deepEqual(validity({}, brief), [-6, 53]);
  assert.deepEqual(validity({ validitySeconds: 60 }, brief), [0, 59]);
});

test('it ends with the issuer where nobody asks, and is refused where somebody does', () => {
  const short = rootAuthority({ notAfter: second + 5 * day * 1000 });
  const facts = issuerFacts(short);
  assert.deepEqual(validity({}, client, facts), [-300, 5 * day]);
  assert.deepEqual(validity({ notAfter: second + 5 * day * 1000 }, client, facts), [-300, 5 * day]);
  refused('validity-not-allowed', /beyond that of the CA/, () =>
    validity({ notAfter: second + 5 * day * 1000 + 1000 }, client, facts),
  );
  refused('validity-not-allowed', /beyond that of the CA/, () =>
    validity({ validitySeconds: 6 * day }, client, facts),
  );
});

test('it does not begin before the issuer', () => {
  // The test's root begins 300 seconds before the day that ends now.
  const start = root.chain[0]!.notBefore;
  const at = start + 60_000;
  const { notBefore } = planned(client, issuer, wanted('CN=x'), at);
  assert.equal(notBefore, start);
});

test('an issuer that is not valid now issues nothing', () => {
  const { notBefore, notAfter } = root.chain[0]!;
  const plan = (at: number) => planned(client, issuer, wanted('CN=x'), at);
  refused('validity-not-allowed', /not valid now/, () => plan(notBefore - 1000));
  refused('validity-not-allowed', /not valid now/, () => plan(notAfter + 1000));
});

test('an end in the past, two ends and no length are refused', () => {
  refused('validity-not-allowed', /before it begins/, () => validity({ notAfter: second - 1000 }));
  refused('validity-not-allowed', /A length and an end/, () =>
    validity({ notAfter: second + 1000, validitySeconds: 1 }),
  );
  refused('validity-not-allowed', /a second at least/, () => validity({ validitySeconds: 0 }));
  refused('validity-not-allowed', /no time/, () => validity({ notAfter: Number.NaN }));
  refused('validity-not-allowed', /no time/, () => validity({ notAfter: Date.UTC(10_000, 0) }));
});
