import type { Profile } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { type Certificate, parseTbsCertificate } from '../../x509/x509.ts';
import { extensionRules } from './lint-extensions.ts';
import { nameRules } from './lint-names.ts';
import { structureRules } from './lint-structure.ts';
import { type LintRule, readStructure } from './lint-view.ts';

/**
 * Reads a certificate as others will, just before it is signed, and holds it to RFC 5280, to those
 * parts of the CA/Browser Forum's Baseline Requirements (BR) that make sense for every CA, to its
 * issuer's certificate and to its profile. With what planned it, it shares the rules of names and
 * of public keys and the tables of bounds and usages, and nothing else. `issuer` is undefined where the certificate is
 * signed by its own key. Error: `lint-failed`; the `rule` in its data names the rule.
 */
export function lintCertificate(
  tbs: Buffer,
  issuer: Certificate | undefined,
  profile: Profile,
): void {
  const structure = readable(() => readStructure(tbs));
  holdTo(structureRules, structure);
  const view = { certificate: readable(() => parseTbsCertificate(tbs)), issuer, profile };
  holdTo(nameRules, view);
  holdTo(extensionRules, view);
}

function holdTo<View>(rules: readonly LintRule<View>[], view: View): void {
  for (const { name, source, broken } of rules) {
    const fault = broken(view);
    if (fault !== undefined) throw failed(name, `${fault} (${source})`);
  }
}

function readable<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'It cannot be read.';
    throw failed('well-formed', `It is not well-formed: ${reason} (RFC 5280, 4.1)`, error);
  }
}

function failed(rule: string, fault: string, cause?: unknown): KeyreeveError {
  return new KeyreeveError('lint-failed', `The certificate breaks the rule ${rule}. ${fault}`, {
    hint: 'It was not signed. Check profile and request; if both are right, this is a defect.',
    data: { rule },
    cause,
  });
}
