/**
 * Why bytes are not read: a closed set, so that programs and tests can tell the reasons apart. The
 * text ends the sentence "It is not well-formed: ...".
 */
export const derReasons = {
  truncated: 'it ends too early',
  trailing: 'something follows it',
  'too-large': 'it is larger than is allowed',
  'too-deep': 'it is nested too deeply',
  tag: 'a tag is not allowed',
  'length-form': 'a length is indefinite or has too many bytes',
  'length-not-minimal': 'a length is not encoded minimally',
  constructed: 'a value of a simple type is cut into pieces, or a list is not a list',
  boolean: 'a BOOLEAN is neither 00 nor FF',
  integer: 'an INTEGER is not encoded minimally',
  'bit-string': 'a BIT STRING has wrong unused bits',
  null: 'a NULL is not empty',
  'object-identifier': 'an OBJECT IDENTIFIER is not encoded minimally, or too long',
  text: 'a text has bytes that its type does not allow',
  time: 'a time is not in the form of DER, or no such date exists',
  'set-order': 'the members of a SET are not in order',
  'default-encoded': 'a value is written out that has to be left out, being the default',
  structure: 'its parts are not those of its standard',
  value: 'a value is outside of what its standard allows',
  duplicate: 'something stands in it twice that may be there once',
  'algorithm-mismatch': 'the two places that name its signature algorithm differ',
} as const;

export type DerReason = keyof typeof derReasons;

/** Bytes that are not what they have to be. */
export class DerError extends RangeError {
  readonly reason: DerReason;

  constructor(reason: DerReason, detail?: string) {
    super(detail ?? derReasons[reason]);
    this.name = 'DerError';
    this.reason = reason;
  }
}
