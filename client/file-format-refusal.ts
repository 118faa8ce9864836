import { KeyreeveError } from '../server/base/errors.ts';

const copyAgain = 'Copy the file again from where it was made, or take it from a backup.';

/** Why a file is refused: the closed set of docs/file-format.md, "Reading". */
export const refusalReasons = {
  'not-this-format': {
    message: 'This is not a file that Keyreeve encrypted.',
    hint: 'Check that you named the right file.',
  },
  'text-mode': {
    message: 'The file was altered by a transfer in text mode.',
    hint: 'Copy the file again in binary mode.',
  },
  'header-cut': { message: 'The file is cut off inside its header.', hint: copyAgain },
  'format-version': {
    message: 'The file has a format version that this program does not know.',
    hint: 'Update Keyreeve, or copy the file again if it was made by this version.',
  },
  algorithm: {
    message: 'The file names an algorithm that its format version does not have.',
    hint: copyAgain,
  },
  'key-id': { message: 'The key id in the header is damaged.', hint: copyAgain },
  'key-version': { message: 'The key version in the header is damaged.', hint: copyAgain },
  'wrapped-key-length': { message: 'The header is damaged.', hint: copyAgain },
  'key-check': {
    message: 'The header was altered, or the data key is not the one of this file.',
    hint: copyAgain,
  },
  chunk: { message: 'The content of the file was altered.', hint: copyAgain },
  'final-chunk': { message: 'The end of the file is missing or altered.', hint: copyAgain },
  'empty-final-chunk': { message: 'The end of the file is missing or altered.', hint: copyAgain },
  'too-many-chunks': { message: 'The file is longer than its format allows.', hint: copyAgain },
} as const satisfies Record<string, { message: string; hint: string }>;

export type RefusalReason = keyof typeof refusalReasons;

/** The error for a refused file: `invalid-ciphertext`, with the reason and chunk number as data. */
export function refusal(reason: RefusalReason, chunk?: number): KeyreeveError {
  const { message, hint } = refusalReasons[reason];
  return new KeyreeveError('invalid-ciphertext', message, {
    hint,
    data: chunk === undefined ? { reason } : { reason, chunk },
  });
}
