import type { BundleOpenings } from './findings.ts';
import {
  commitmentInput,
  fieldName,
  fieldNumber,
  type OpenedField,
  saltLengthBytes,
} from './leaf.ts';
import { tileWidth } from './tiles.ts';

/**
 * The openings of a bundle as lines of JSON, without the fields named in `redact`
 * (docs/record-format.md, "Export").
 */
export function formatOpenings(
  number: number,
  openings: readonly (readonly OpenedField[])[],
  redact: ReadonlySet<string>,
): string {
  let text = '';
  for (const [index, opening] of openings.entries()) {
    const fields: Record<string, { salt: string; value: string }> = {};
    for (const { field, salt, value } of opening) {
      const name = fieldName(field);
      if (!redact.has(name)) fields[name] = { salt: salt.toString('hex'), value };
    }
    text += `${JSON.stringify({ place: number * tileWidth + index, fields })}\n`;
  }
  return text;
}

/**
 * Reads such lines for the bundle of `width` entries. A line that is wrong stands as a problem at its
 * entry; lines for no entry of the bundle are added as problems at the end.
 */
export function parseOpenings(text: string, number: number, width: number): BundleOpenings {
  const first = number * tileWidth;
  const found: BundleOpenings[number][] = [];
  const stray: { problem: string }[] = [];
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  for (const [row, line] of lines.entries()) {
    const parsed = parseLine(line);
    const index = parsed.place === undefined ? row : parsed.place - first;
    if (index < 0 || index >= width)
      stray.push({ problem: 'A line is for no entry of this bundle.' });
    else if (found[index] !== undefined)
      found[index] = { problem: 'Two lines are for this entry.' };
    else found[index] = parsed.opening;
  }
  const absent = { problem: 'The line of this entry is not there.' };
  return [...Array.from({ length: width }, (_, index) => found[index] ?? absent), ...stray];
}

function parseLine(line: string): { place?: number; opening: BundleOpenings[number] } {
  let data: unknown;
  try {
    data = JSON.parse(line);
  } catch {
    return { opening: { problem: 'The line of this entry is not JSON.' } };
  }
  if (!isObject(data) || !Number.isSafeInteger(data.place) || !isObject(data.fields)) {
    return { opening: { problem: 'The line of this entry has not the right form.' } };
  }
  const place = data.place as number;
  const fields: OpenedField[] = [];
  for (const [name, value] of Object.entries(data.fields)) {
    const field = parseField(name, value);
    if (field === undefined) {
      return { place, opening: { problem: 'A field of this entry has not the right form.' } };
    }
    fields.push(field);
  }
  return { place, opening: fields.sort((a, b) => a.field - b.field) };
}

function parseField(name: string, content: unknown): OpenedField | undefined {
  const field = fieldNumber(name);
  if (field === undefined || !isObject(content)) return undefined;
  const { salt, value } = content;
  if (typeof salt !== 'string' || typeof value !== 'string' || !value.isWellFormed())
    return undefined;
  if (salt.length !== saltLengthBytes * 2 || !/^[0-9a-f]*$/.test(salt)) return undefined;
  const bytes = Buffer.from(salt, 'hex');
  return { field, salt: bytes, value, input: commitmentInput(field, bytes, value) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
