/** Options that several commands of authorities and certificates share. */
import type { z } from 'zod';
import type { caSettings } from '../../api/routes/authorities.ts';
import type { Tools } from '../act.ts';
import { parseWhole } from '../arguments.ts';
import { parseDuration } from '../durations.ts';

export const pathLengthMax = 10;

/** How a CA is run. */
export interface SettingsOptions {
  readonly profile?: string[];
  readonly maxValidity?: string;
  readonly crlEvery?: string;
  readonly crlValidity?: string;
  readonly purgeAfter?: string;
}

/** The settings that the options name, and nothing that they do not: the service knows the rest. */
export function settingsFromOptions(options: SettingsOptions): z.input<typeof caSettings> {
  return withoutUndefined({
    profiles: options.profile,
    validitySecondsMax: seconds(options.maxValidity),
    crlEverySeconds: seconds(options.crlEvery),
    crlValiditySeconds: seconds(options.crlValidity),
    purgeAfterSeconds: seconds(options.purgeAfter),
  });
}

export interface ConstraintOptions {
  readonly permit?: string[];
  readonly exclude?: string[];
}

/** Name constraints, or undefined where none are named. */
export function constraintsFromOptions(
  options: ConstraintOptions,
): { permitted: string[]; excluded: string[] } | undefined {
  const { permit = [], exclude = [] } = options;
  return permit.length + exclude.length === 0
    ? undefined
    : { permitted: permit, excluded: exclude };
}

export function pathLengthOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseWhole(text, '--path-length', 0, pathLengthMax);
}

export function seconds(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDuration(text);
}

/** What the service wants people to know, on standard error. */
export function printNotes(tools: Tools, notes: readonly string[] | undefined): void {
  for (const note of notes ?? []) tools.output.note(`note: ${note}`);
}

/** The members that have a value. */
function withoutUndefined<Value extends object>(
  value: Value,
): { [Name in keyof Value]?: Exclude<Value[Name], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [Name in keyof Value]?: Exclude<Value[Name], undefined>;
  };
}
