import type { DistinguishedName } from '../../x509/x509.ts';

/** Whether the first relative names of `name` are those of `base` (RFC 5280, section 7.1). */
export function beginsWith(name: DistinguishedName, base: DistinguishedName): boolean {
  if (base.length > name.length) return false;
  return base.every((part, index) => normalPart(part) === normalPart(name[index]!));
}

/** Whether two distinguished names are one, however they are encoded (RFC 5280, section 7.1). */
export function isSameName(left: DistinguishedName, right: DistinguishedName): boolean {
  return left.length === right.length && beginsWith(left, right);
}

function normalPart(part: DistinguishedName[number]): string {
  return JSON.stringify(part.map(({ type, value }) => `${type}=${normalText(value)}`).sort());
}

/**
 * Case, compatibility forms, characters that cannot be seen and runs of spaces tell no names apart
 * (RFC 4518, section 2).
 */
function normalText(text: string): string {
  const seen = text.replace(/\p{Default_Ignorable_Code_Point}|\p{Cf}|\ufffc/gu, '');
  return seen.normalize('NFKC').toLowerCase().replace(/\s+/gu, ' ').trim();
}
