import { canonicalJson } from '../../base/canonical-json.ts';
import { type Clock, formatTime } from '../../base/clock.ts';
import { serviceEntry } from '../../commands/commands.ts';
import type { Storage } from '../../storage/storage.ts';

/** It is renewed with 30 of its 90 days left: with this left, that has failed for some time. */
export const tlsWarningSeconds = 20 * 24 * 60 * 60;

/**
 * Tells of the certificate of this node's own HTTPS where it was not renewed in time: an event
 * `certificate.expiring`, once for each certificate. The function takes when it ends, in
 * milliseconds since 1970.
 */
export function createTlsExpiry(storage: Storage, clock: Clock): (end: number) => Promise<void> {
  let told: number | undefined;
  return async (end) => {
    if (end - clock.now() > tlsWarningSeconds * 1000 || told === end) return;
    const detail = canonicalJson({ notAfter: formatTime(end), node: storage.nodeId });
    const about = { resource: 'system/tls', detail };
    const entry = serviceEntry(clock, 'certificate.expiring', 'ok', about);
    await storage.commit({ steps: [], entries: [entry] });
    told = end;
  };
}
