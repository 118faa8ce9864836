import { createHash } from 'node:crypto';
import type { BindingKind } from '../../api/routes/certificates.ts';
import { KeyreeveError } from '../base/errors.ts';
import {
  type Certificate,
  decodeName,
  encodeName,
  formatName,
  type GeneralName,
  parseGeneralName,
  parseName,
} from '../x509/x509.ts';

/** By what a certificate can be bound: a kind, and the value in the one form that is stored. */
export interface BoundFact {
  readonly kind: BindingKind;
  readonly value: string;
}

const fingerprintPattern = /^[0-9a-f]{64}$/;

/**
 * What somebody gave as the value of a binding, in the form in which it is stored and compared.
 * Errors: `subject-not-allowed`, `invalid-request`.
 */
export function bindingValue(kind: BindingKind, text: string): string {
  switch (kind) {
    case 'dns':
    case 'email':
    case 'uri':
      return nameValue(parseGeneralName(`${kind}:${text}`));
    case 'subject':
      return subjectValue(text);
    case 'key':
    case 'certificate':
      return fingerprintValue(kind, text);
  }
}

/** Everything by which a certificate can be bound. */
export function boundFacts(certificate: Certificate): readonly BoundFact[] {
  const names = certificate.extensions.subjectAltNames ?? [];
  const subject = formatName(certificate.subjectName);
  return [
    ...names.flatMap((name) =>
      isBindable(name) ? [{ kind: name.kind, value: nameValue(name) }] : [],
    ),
    ...(subject === '' ? [] : [{ kind: 'subject', value: subject } as const]),
    { kind: 'key', value: sha256(certificate.spki) },
    { kind: 'certificate', value: sha256(certificate.der) },
  ];
}

function isBindable(name: GeneralName): name is GeneralName & { kind: 'dns' | 'email' | 'uri' } {
  return name.kind === 'dns' || name.kind === 'email' || name.kind === 'uri';
}

/** Domains are the same in either case; what stands before the @ of an address is not. */
function nameValue({ kind, value }: GeneralName): string {
  if (kind === 'dns') return value.toLowerCase();
  if (kind !== 'email') return value;
  const at = value.lastIndexOf('@') + 1;
  return value.slice(0, at) + value.slice(at).toLowerCase();
}

/** As it is read from a certificate: the attributes of one relative name in the order of DER. */
function subjectValue(text: string): string {
  const value = formatName(decodeName(encodeName(parseName(text))));
  if (value !== '') return value;
  throw new KeyreeveError('invalid-request', 'An empty subject binds nothing.', {
    hint: 'Give the subject as it stands in the certificate, such as CN=app,O=Example.',
  });
}

function fingerprintValue(kind: 'key' | 'certificate', text: string): string {
  const value = text.replaceAll(':', '').toLowerCase();
  if (fingerprintPattern.test(value)) return value;
  const what = kind === 'key' ? 'public key (SPKI)' : 'certificate (DER)';
  throw new KeyreeveError('invalid-request', 'This is no SHA-256 in hexadecimal.', {
    hint: `Give the SHA-256 of the ${what}: 64 hexadecimal digits. "keyreeve cert show" prints it.`,
  });
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
