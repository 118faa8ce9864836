/** What a key may be for: one purpose per key, given at creation (NIST SP 800-57 part 1, 5.2). */
export const purposes = ['sign', 'encrypt', 'mac', 'wrap', 'agree', 'encapsulate', 'ca'] as const;
export type Purpose = (typeof purposes)[number];

/** What can be asked of a key, by whichever door. */
export const operations = [
  'sign',
  'verify',
  'encrypt',
  'decrypt',
  'mac',
  'verify-mac',
  'data-key',
  'wrap',
  'unwrap',
  'agree',
  'encapsulate',
  'decapsulate',
  'sign-certificate',
  'sign-crl',
] as const;
export type Operation = (typeof operations)[number];
