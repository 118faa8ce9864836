import { z } from 'zod';
import * as fields from '../fields.ts';
import { revocationReasonNames } from '../revocation-reasons.ts';
import type { RouteDefinition } from '../route.ts';
import { pemLengthMax, subject } from './authorities.ts';

export const certificateStates = ['valid', 'on-hold', 'revoked', 'expired'] as const;
export const serial = z.string().regex(/^[0-9A-Fa-f:]{1,80}$/, 'a serial number in hexadecimal');
export const namesMax = 100;
export const issueBatchMax = 100;
const fingerprint = z.string().regex(/^[0-9a-f]{64}$/);

export const certificateView = z.object({
  id: z.string(),
  /** Name of the CA; null where the issuer is none of ours. */
  ca: z.string().nullable(),
  caVersion: z.number().nullable(),
  /** Hexadecimal, lower case. */
  serial: z.string(),
  subject: z.string(),
  names: z.array(z.string()),
  profile: z.string(),
  state: z.enum(certificateStates),
  notBefore: fields.time,
  notAfter: fields.time,
  /** SHA-256 of the certificate; null where only its number is known. */
  fingerprint: z.string().nullable(),
  keyFingerprint: z.string().nullable(),
  /** Name of the key of ours that it certifies. */
  key: z.string().nullable(),
  keyVersion: z.number().nullable(),
  issuedAt: fields.time,
  issuedBy: z.string(),
  revokedAt: fields.time.nullable(),
  reason: z.string().nullable(),
  invalidFrom: fields.time.nullable(),
});
export type CertificateView = z.output<typeof certificateView>;

const withPem = certificateView.extend({ certificate: z.string().nullable() });

const issuing = {
  ca: fields.keyReference,
  profile: fields.line(60),
  /** PKCS#10 as PEM, or DER in base64. One of `csr` and `key`. */
  csr: z.string().max(pemLengthMax).optional(),
  /** A key of ours that can sign: its current version is certified. */
  key: fields.keyReference.optional(),
  /** In place of the subject of the request. */
  subject: subject.optional(),
  /** In place of the names of the request: `dns:www.example.org`, `ip:192.0.2.1`, `email:`, `uri:`. */
  names: z.array(fields.line(300)).max(namesMax).optional(),
  validitySeconds: z
    .int()
    .min(60)
    .max(100 * 366 * 86_400)
    .optional(),
  notAfter: fields.time.optional(),
  /** For profiles of CAs. */
  pathLength: z.int().min(0).max(10).optional(),
  nameConstraints: z
    .strictObject({
      permitted: z.array(fields.line(300)).max(50).default([]),
      excluded: z.array(fields.line(300)).max(50).default([]),
    })
    .optional(),
};
export const certificateIssueBody = z.strictObject(issuing);
export type CertificateIssueBody = z.output<typeof certificateIssueBody>;

const issued = withPem.extend({
  /** The certificates above it, up to but without the root, as PEM. */
  chain: z.string(),
  notes: z.array(z.string()),
});

/** What certificates are searched by; what is left out limits nothing. */
const search = {
  ca: fields.keyReference.optional(),
  /** A part of the subject. */
  subject: fields.line(300).optional(),
  /** A name as it stands in the certificate, or `.example.org` for all below a domain. */
  name: fields.line(300).optional(),
  serial: serial.optional(),
  /** Id or name of a key of ours, or the SHA-256 of a public key. */
  key: fields.keyReference.optional(),
  profile: fields.line(60).optional(),
  state: z.enum(certificateStates).optional(),
  expiresBefore: fields.time.optional(),
  expiresAfter: fields.time.optional(),
};

const certificateParams = z.strictObject({ serial });
const ofCa = z.strictObject({ ca: fields.keyReference.optional() });
const command = { authentication: 'token', kind: 'command' } as const;
const read = { authentication: 'token', kind: 'read' } as const;
/** By what a client certificate is known: a name in it, or the SHA-256 of its key or of itself. */
export const bindingKinds = ['dns', 'email', 'uri', 'subject', 'key', 'certificate'] as const;
export type BindingKind = (typeof bindingKinds)[number];

export const bindingView = z.object({
  id: z.string(),
  principal: z.string(),
  ca: z.string(),
  kind: z.enum(bindingKinds),
  value: z.string(),
  createdAt: fields.time,
});

/** The native API's routes of certificates and of what they are good for. */
export const certificateRoutes = {
  'certificate.issue': {
    method: 'POST',
    path: '/api/v1/certificates',
    summary: 'Issue a certificate for a request (PKCS#10) or for a key of this installation',
    ...command,
    body: certificateIssueBody,
    response: issued,
    status: 201,
  },
  'certificate.issue.batch': {
    method: 'POST',
    path: '/api/v1/certificates/batch',
    summary: 'Issue certificates for many requests; each has its own outcome',
    ...command,
    body: z.strictObject({
      items: z.array(certificateIssueBody).min(1).max(issueBatchMax),
    }),
    response: z.object({
      items: z.array(
        z.union([
          z.object({ certificate: issued }),
          z.object({ error: z.object({ code: z.string(), message: z.string() }) }),
        ]),
      ),
    }),
  },
  'certificate.list': {
    method: 'GET',
    path: '/api/v1/certificates',
    summary: 'Search the certificates that were issued, newest first',
    ...read,
    query: fields.pageQuery.extend(search),
    response: z.object({ items: z.array(certificateView), next: z.string().nullable() }),
  },
  'certificate.export': {
    method: 'POST',
    path: '/api/v1/certificates/export',
    summary: 'Every certificate that a search finds, as PEM or as JSON lines',
    ...command,
    body: z.strictObject({ ...search, format: z.enum(['pem', 'jsonl']).default('pem') }),
    response: 'stream',
  },
  'certificate.show': {
    method: 'GET',
    path: '/api/v1/certificates/:serial',
    summary: 'Show a certificate by its serial number',
    ...read,
    params: certificateParams,
    query: ofCa,
    response: withPem,
  },
  'certificate.revoke': {
    method: 'POST',
    path: '/api/v1/certificates/:serial/revoke',
    summary: 'Revoke a certificate; the reason certificateHold can be taken back',
    ...command,
    params: certificateParams,
    body: ofCa.extend({
      reason: z.enum(revocationReasonNames).default('unspecified'),
      /** Since when the key is suspected not to be its owner's alone (RFC 5280, 5.3.2). */
      invalidFrom: fields.time.optional(),
    }),
    response: certificateView.extend({ crlDueAt: fields.time.nullable() }),
  },
  'certificate.release': {
    method: 'POST',
    path: '/api/v1/certificates/:serial/release',
    summary: 'Take a certificate off hold',
    ...command,
    params: certificateParams,
    body: ofCa,
    response: certificateView.extend({ crlDueAt: fields.time.nullable() }),
  },
  'certificate.purge': {
    method: 'POST',
    path: '/api/v1/certificates/purge',
    summary: 'Forget certificates that expired before a time',
    ...command,
    body: z.strictObject({ ca: fields.keyReference, expiredBefore: fields.time }),
    response: z.object({ purged: z.number() }),
  },
  'certificate.block-key': {
    method: 'POST',
    path: '/api/v1/blocked-keys',
    summary: 'Refuse a public key from now on, in whatever certificate',
    ...command,
    body: z.strictObject({
      /** SHA-256 of the SPKI, or PEM of a public key, a request or a certificate. */
      key: z.string().max(pemLengthMax),
      reason: fields.line(200),
    }),
    response: z.object({ fingerprint, reason: z.string(), certificates: z.number() }),
  },
  'certificate.blocked-keys': {
    method: 'GET',
    path: '/api/v1/blocked-keys',
    summary: 'List the public keys that are refused',
    ...read,
    query: fields.pageQuery,
    response: z.object({
      items: z.array(
        z.object({ fingerprint: z.string(), reason: z.string(), createdAt: fields.time }),
      ),
      next: z.string().nullable(),
    }),
  },
  'certificate.unblock-key': {
    method: 'DELETE',
    path: '/api/v1/blocked-keys/:fingerprint',
    summary: 'Take a public key off the list of those that are refused',
    ...command,
    params: z.strictObject({ fingerprint }),
    response: z.object({ fingerprint: z.string() }),
  },
  'principal.bind': {
    method: 'POST',
    path: '/api/v1/principals/:principal/certificates',
    summary: 'Let client certificates of a CA that carry this name log in as a principal',
    ...command,
    params: z.strictObject({ principal: fields.line(fields.nameLengthMax).min(1) }),
    body: z.strictObject({
      ca: fields.keyReference,
      kind: z.enum(bindingKinds),
      value: fields.line(1000).min(1),
    }),
    response: bindingView,
    status: 201,
  },
  'principal.bindings': {
    method: 'GET',
    path: '/api/v1/principals/:principal/certificates',
    summary: 'The client certificates that log in as a principal',
    ...read,
    params: z.strictObject({ principal: fields.line(fields.nameLengthMax).min(1) }),
    response: z.object({ items: z.array(bindingView) }),
  },
  'principal.unbind': {
    method: 'DELETE',
    path: '/api/v1/certificate-bindings/:binding',
    summary: 'End a binding: certificates that logged in by it do so no more',
    ...command,
    params: z.strictObject({ binding: fields.line(60) }),
    response: bindingView,
  },
} as const satisfies Record<string, RouteDefinition>;
