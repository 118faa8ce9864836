import { isKeyreeveError } from './base/errors.ts';

/** Why the service did not start, for people: what is wrong, then what to do. */
export function renderStartError(error: unknown): string {
  if (!isKeyreeveError(error)) {
    return `error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
  }
  const hint = error.hint === undefined ? '' : `hint: ${error.hint}\n`;
  return `error: ${error.message} (${error.code})\n${hint}`;
}
