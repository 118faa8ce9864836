import { z } from 'zod';
import { line } from './fields.ts';

/** Bits of KeyUsage, in the order of RFC 5280, section 4.2.1.3. */
export const keyUsages = [
  'digitalSignature',
  'contentCommitment',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;
export type KeyUsageName = (typeof keyUsages)[number];

/** Extended key usages by name: RFC 5280, section 4.2.1.12, and RFC 9336 for document signing. */
export const extendedKeyUsages = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  codeSigning: '1.3.6.1.5.5.7.3.3',
  emailProtection: '1.3.6.1.5.5.7.3.4',
  timeStamping: '1.3.6.1.5.5.7.3.8',
  OCSPSigning: '1.3.6.1.5.5.7.3.9',
  documentSigning: '1.3.6.1.5.5.7.3.36',
} as const;
export type ExtendedKeyUsageName = keyof typeof extendedKeyUsages;

/** It lets a certificate be used for everything, whatever else stands beside it. */
export const anyExtendedKeyUsage = '2.5.29.37.0';

/** The kinds of subject alternative names that certificates may carry. */
export const generalNameKinds = ['dns', 'ip', 'email', 'uri'] as const;
export type GeneralNameKind = (typeof generalNameKinds)[number];

/** Attributes of a subject by their short names (RFC 4514, section 3, and RFC 5280, A.1). */
export const subjectAttributes = {
  CN: '2.5.4.3',
  SN: '2.5.4.4',
  serialNumber: '2.5.4.5',
  C: '2.5.4.6',
  L: '2.5.4.7',
  ST: '2.5.4.8',
  street: '2.5.4.9',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  title: '2.5.4.12',
  GN: '2.5.4.42',
  organizationIdentifier: '2.5.4.97',
  UID: '0.9.2342.19200300.100.1.1',
  DC: '0.9.2342.19200300.100.1.25',
  emailAddress: '1.2.840.113549.1.9.1',
} as const;
export type SubjectAttribute = keyof typeof subjectAttributes;

const attributeNames = Object.keys(subjectAttributes) as [SubjectAttribute, ...SubjectAttribute[]];
const usageNames = Object.keys(extendedKeyUsages) as [
  ExtendedKeyUsageName,
  ...ExtendedKeyUsageName[],
];
// The second number is below 40 under the roots 0 and 1 (X.660, section 7.6).
const oid = z
  .string()
  .regex(/^(?:[01]\.[1-3]?[0-9]|2\.(?:0|[1-9][0-9]{0,9}))(?:\.(?:0|[1-9][0-9]{0,9})){0,19}$/);
const day = 86_400;
const secondsMax = 100 * 366 * day;

/** What a certificate of a profile holds, and what may be asked for. */
export const profile = z.strictObject({
  name: z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$/),
  title: line(100),
  /** What it is for, one sentence. */
  what: line(300),
  /** The certificate of a CA, which may certify others. */
  isAuthority: z.boolean().default(false),
  /** Highest path length of a CA, and the one it gets unasked; left out: unlimited. */
  pathLengthMax: z.int().min(0).max(10).optional(),
  subject: z
    .strictObject({
      /** Attributes that are taken from the request; any other is refused. */
      allowed: z.array(z.enum(attributeNames)).max(attributeNames.length),
      required: z.array(z.enum(attributeNames)).max(attributeNames.length).default([]),
    })
    .prefault({ allowed: [] }),
  names: z
    .strictObject({
      allowed: z.array(z.enum(generalNameKinds)).max(generalNameKinds.length),
      /** At least one name has to be there. */
      required: z.boolean().default(false),
      /** `*` as the whole first label of a DNS name. */
      wildcards: z.boolean().default(false),
      /** The common name has to be one of the names. */
      commonNameIsName: z.boolean().default(false),
    })
    .prefault({ allowed: [] }),
  keyUsage: z.array(z.enum(keyUsages)).min(1).max(keyUsages.length),
  extendedKeyUsage: z
    .array(z.union([z.enum(usageNames), oid]))
    .max(20)
    .default([]),
  extendedKeyUsageCritical: z.boolean().default(false),
  /** The responder's certificate is not asked about in its turn (RFC 6960, section 4.2.2.2.1). */
  ocspNoCheck: z.boolean().default(false),
  /** Object identifiers of certificate policies. */
  policies: z.array(oid).max(10).default([]),
  /** Validity where none is asked for, and the longest that may be. */
  validitySeconds: z.int().min(60).max(secondsMax),
  validitySecondsMax: z.int().min(60).max(secondsMax),
  /** How far the start lies before the time of issuance: clocks of relying parties may be behind. */
  backdateSeconds: z
    .int()
    .min(0)
    .max(7 * day)
    .default(300),
  /** Algorithms of the certified key; left out: every one that can sign. */
  algorithms: z.array(line(60)).min(1).max(60).optional(),
  /** Refuse a public key that another subject's living certificate holds. */
  exclusiveKey: z.boolean().default(true),
});
export type Profile = z.output<typeof profile>;
export type ProfileInput = z.input<typeof profile>;

const organisation: SubjectAttribute[] = ['CN', 'C', 'ST', 'L', 'street', 'O', 'OU', 'DC'];
const person: SubjectAttribute[] = [
  ...organisation,
  'GN',
  'SN',
  'title',
  'UID',
  'serialNumber',
  'emailAddress',
];
const authorities = { allowed: [...organisation, 'organizationIdentifier' as const] };

const inputs = [
  {
    name: 'root',
    title: 'Root CA',
    what: 'A trust anchor, signed by its own key.',
    isAuthority: true,
    subject: { ...authorities, required: ['CN'] },
    keyUsage: ['keyCertSign', 'cRLSign'],
    validitySeconds: 20 * 365 * day,
    validitySecondsMax: 40 * 366 * day,
  },
  {
    name: 'intermediate',
    title: 'Intermediate CA',
    what: 'A CA below another one.',
    isAuthority: true,
    subject: { ...authorities, required: ['CN'] },
    keyUsage: ['keyCertSign', 'cRLSign'],
    validitySeconds: 5 * 365 * day,
    validitySecondsMax: 20 * 366 * day,
  },
  {
    name: 'tls-server',
    title: 'TLS server',
    what: 'Proves a server to its clients.',
    subject: { allowed: organisation },
    names: { allowed: ['dns', 'ip'], required: true, wildcards: true, commonNameIsName: true },
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['serverAuth'],
    validitySeconds: 365 * day,
    validitySecondsMax: 398 * day,
  },
  {
    name: 'tls-client',
    title: 'TLS client',
    what: 'Proves a service, a device or a person to servers.',
    subject: { allowed: person },
    names: { allowed: ['dns', 'ip', 'email', 'uri'] },
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['clientAuth'],
    validitySeconds: 365 * day,
    validitySecondsMax: 2 * 366 * day,
  },
  {
    name: 'tls-peer',
    title: 'TLS peer',
    what: 'Proves a service both as server and as client.',
    subject: { allowed: organisation },
    names: { allowed: ['dns', 'ip', 'uri'], required: true, commonNameIsName: true },
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['serverAuth', 'clientAuth'],
    validitySeconds: 365 * day,
    validitySecondsMax: 398 * day,
  },
  {
    name: 'code-signing',
    title: 'Code signing',
    what: 'Signs programs.',
    subject: { allowed: [...organisation, 'serialNumber'], required: ['CN'] },
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['codeSigning'],
    validitySeconds: 365 * day,
    validitySecondsMax: 460 * day,
  },
  {
    name: 'timestamping',
    title: 'Timestamping',
    what: 'Signs timestamps (RFC 3161, section 2.3: this usage alone, critical).',
    subject: { allowed: organisation, required: ['CN'] },
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['timeStamping'],
    extendedKeyUsageCritical: true,
    validitySeconds: 5 * 365 * day,
    validitySecondsMax: 15 * 366 * day,
  },
  {
    name: 'ocsp-signing',
    title: 'OCSP responder',
    what: 'Signs answers about the certificates of the CA that issued it.',
    subject: { allowed: organisation, required: ['CN'] },
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['OCSPSigning'],
    ocspNoCheck: true,
    validitySeconds: 30 * day,
    validitySecondsMax: 366 * day,
  },
  {
    name: 'email',
    title: 'E-mail signing',
    what: 'Signs a person\u2019s mail (S/MIME).',
    subject: { allowed: person },
    names: { allowed: ['email'], required: true },
    keyUsage: ['digitalSignature', 'contentCommitment'],
    extendedKeyUsage: ['emailProtection'],
    validitySeconds: 365 * day,
    validitySecondsMax: 3 * 366 * day,
  },
  {
    name: 'document-signing',
    title: 'Document signing',
    what: 'Signs documents (RFC 9336).',
    subject: { allowed: [...person, 'organizationIdentifier'], required: ['CN'] },
    names: { allowed: ['email', 'uri'] },
    keyUsage: ['digitalSignature', 'contentCommitment'],
    extendedKeyUsage: ['documentSigning'],
    validitySeconds: 2 * 365 * day,
    validitySecondsMax: 5 * 366 * day,
  },
] as const satisfies readonly ProfileInput[];

/** The profiles there are from the start: data, which operators can replace by their own. */
export const builtInProfiles: readonly Profile[] = inputs.map((input) => profile.parse(input));
/** Their names. A CA makes its own certificates by `root` and `intermediate`. */
export const builtInProfileNames = inputs.map((input) => input.name);
