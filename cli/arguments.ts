/** Arguments with a form of their own. */
import { KeyreeveError } from '../server/base/errors.ts';

export interface KeyAndVersion {
  readonly key: string;
  readonly version: number | undefined;
}

/** `NAME` or `NAME@VERSION`. */
export function parseKeyAndVersion(text: string): KeyAndVersion {
  const [, key = '', version] = /^([^@]+)(?:@([1-9][0-9]{0,6}))?$/.exec(text) ?? [];
  if (key === '') {
    throw new KeyreeveError('invalid-request', `"${text}" is not a key and version`, {
      hint: 'Write it as NAME or NAME@VERSION, such as release@2.',
    });
  }
  return { key, version: version === undefined ? undefined : Number(version) };
}

/** `name=value` pairs as an object. */
export function parseLabels(pairs: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const pair of pairs) {
    const border = pair.indexOf('=');
    if (border < 1) {
      throw new KeyreeveError('invalid-request', `"${pair}" is not a label`, {
        hint: 'Write it as --label name=value.',
      });
    }
    const name = pair.slice(0, border);
    if (Object.hasOwn(labels, name)) {
      throw new KeyreeveError('invalid-request', `the label "${name}" is given twice`);
    }
    labels[name] = pair.slice(border + 1);
  }
  return labels;
}

/** A whole number in decimal, within the limits. */
export function parseWhole(text: string, name: string, minimum: number, maximum: number): number {
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= minimum && value <= maximum)) {
    throw new KeyreeveError('invalid-request', `${name} is "${text}"`, {
      hint: `Give a whole number from ${minimum} to ${maximum}.`,
    });
  }
  return value;
}

/** Gathers an option that may be given several times. */
export function gather(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
