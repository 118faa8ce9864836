import type { TreeSource, VerifyOptions, VerifyResult } from './findings.ts';
import { Walk } from './verify-walk.ts';

/**
 * Checks a whole tree against a signed head, from the root downwards: a hash that was proven from
 * above tells which of a tile and what lies below it was changed. Memory stays bounded by a
 * few tiles and one bundle. Damage is in the result; only failures to read throw.
 */
export async function verifyTree(
  source: TreeSource,
  options: VerifyOptions,
): Promise<Omit<VerifyResult, 'notes'>> {
  const walk = new Walk(source, options);
  await walk.run();
  return {
    ok: walk.problems.length === 0,
    size: options.head.size,
    root: options.head.root.toString('base64'),
    withoutOpening: walk.withoutOpening,
    redactedFields: walk.redactedFields,
    problems: walk.problems,
  };
}
