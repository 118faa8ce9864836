/**
 * Seconds to wait after so many failures in a row: exponential with full jitter, so that what failed
 * of one cause does not come back at one moment. `random` is in [0, 1).
 */
export function jitteredSeconds(
  failures: number,
  limits: { readonly firstSeconds: number; readonly longestSeconds: number },
  random: number,
): number {
  const doubled = limits.firstSeconds * 2 ** Math.max(0, failures - 1);
  return random * Math.min(doubled, limits.longestSeconds);
}
