import type { z } from 'zod';
import type { policy } from '../../api/fields.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import { parseDuration } from '../durations.ts';

export type PolicyInput = z.input<typeof policy>;

/** The options that make a policy. */
export interface PolicyOptions {
  readonly validity?: string;
  readonly rotateEvery?: string;
  readonly onRotation?: string;
  readonly overlap?: string;
  readonly allowedKeystore?: string[];
  readonly storage?: string;
  readonly recovery?: string;
  readonly exportLock?: string;
  readonly assurance?: string;
  readonly destroyAfter?: string;
  readonly reviewEvery?: string;
}

/** The policy that the options name, and nothing that they do not: the service knows the rest. */
export function policyFromOptions(options: PolicyOptions): PolicyInput {
  const found: Record<string, unknown> = {
    validitySeconds: seconds(options.validity),
    rotateEverySeconds: seconds(options.rotateEvery),
    // An overlap without a word on rotation can only mean that there is to be one.
    onRotation: options.onRotation ?? (options.overlap === undefined ? undefined : 'overlap'),
    overlapSeconds: seconds(options.overlap),
    keystores: options.allowedKeystore,
    storage: options.storage,
    recovery: options.recovery,
    exportLocked: exportLocked(options.exportLock),
    assurance: options.assurance,
    destroyAfterSeconds: seconds(options.destroyAfter),
    reviewEverySeconds: seconds(options.reviewEvery),
  };
  return Object.fromEntries(
    Object.entries(found).filter(([, value]) => value !== undefined),
  ) as PolicyInput;
}

function exportLocked(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (text === 'on' || text === 'off') return text === 'on';
  throw new KeyreeveError('invalid-request', `--export-lock is "on" or "off", not "${text}"`, {
    hint: 'Leave it out: keys in hardware are locked in, others are not.',
  });
}

function seconds(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDuration(text);
}
