import { type SubjectAttribute, subjectAttributes } from '../../../api/profiles.ts';
import { dnsFault, splitMailbox } from './name-syntax.ts';

interface AttributeRule {
  /** Most characters (Unicode code points). */
  readonly lengthMax: number;
  /** What else its text has to be, and how that is said: `has to be ...`. */
  readonly form?: { readonly fits: (text: string) => boolean; readonly what: string };
  /** May stand in a subject several times. */
  readonly repeats?: true;
}

// PrintableString, X.680, section 41.4.
const printable = /^[A-Za-z0-9 '()+,\-./:=?]+$/;

/**
 * Upper bounds of RFC 5280, appendix A.1, and where it has none in earnest (SN, GN: 32,768) or
 * none at all, those of X.520 (ub-name, ub-street-address), RFC 4524 (UID) and DNS (a DC is a
 * label). The forms follow from the attribute's type in the same places.
 */
const rules: Readonly<Record<SubjectAttribute, AttributeRule>> = {
  CN: { lengthMax: 64 },
  SN: { lengthMax: 64 },
  serialNumber: {
    lengthMax: 64,
    form: { fits: (text) => printable.test(text), what: 'letters, digits and plain signs' },
  },
  C: {
    lengthMax: 2,
    form: { fits: (text) => /^[A-Z]{2}$/.test(text), what: 'two capital letters (ISO 3166)' },
  },
  L: { lengthMax: 128 },
  ST: { lengthMax: 128 },
  street: { lengthMax: 128, repeats: true },
  O: { lengthMax: 64 },
  OU: { lengthMax: 64, repeats: true },
  title: { lengthMax: 64 },
  GN: { lengthMax: 64 },
  organizationIdentifier: { lengthMax: 256 },
  UID: { lengthMax: 256 },
  DC: {
    lengthMax: 63,
    form: { fits: isDomainComponent, what: 'one label of a DNS name (RFC 4519)' },
    repeats: true,
  },
  emailAddress: {
    lengthMax: 255,
    form: { fits: (text) => splitMailbox(text) !== undefined, what: 'a mail address (RFC 5321)' },
  },
};

const names: ReadonlyMap<string, SubjectAttribute> = new Map(
  Object.entries(subjectAttributes).map(([name, oid]) => [oid, name as SubjectAttribute]),
);

/** The short name of an attribute of subjects; undefined where the product does not write it. */
export function attributeName(oid: string): SubjectAttribute | undefined {
  return names.get(oid);
}

export function mayRepeat(name: SubjectAttribute): boolean {
  return rules[name].repeats === true;
}

/** What is wrong with the text of an attribute, as the end of a sentence. */
export function attributeFault(name: SubjectAttribute, text: string): string | undefined {
  const { lengthMax, form } = rules[name];
  if (text === '') return 'is empty';
  // Several code units can make one character: code points are what the bounds count.
  if (text.length > lengthMax && [...text].length > lengthMax) {
    return `is longer than ${lengthMax} characters`;
  }
  if (hasHiddenCharacters(text)) return 'has characters that cannot be seen';
  if (text.trim() !== text) return 'begins or ends with a space';
  if (!/[\p{L}\p{N}]/u.test(text)) return 'says nothing: it has neither letter nor digit';
  if (form !== undefined && !form.fits(text)) return `has to be ${form.what}`;
  return undefined;
}

/**
 * Controls, halves of surrogate pairs, and what has no width or turns the direction of writing. The
 * joiners U+200C and U+200D are letters to some scripts.
 */
function hasHiddenCharacters(text: string): boolean {
  return /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\ufffd]|(?![\u200c\u200d])\p{Cf}/u.test(text);
}

function isDomainComponent(text: string): boolean {
  // A number would be refused as the last label alone.
  return !text.includes('.') && dnsFault(`${text.toLowerCase()}.example`) === undefined;
}
