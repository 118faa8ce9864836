import type { KeyVersionView, KeyView } from '../../api/routes/keys.ts';
import { formatTime } from '../base/clock.ts';
import { pemText } from '../base/pem.ts';
import type { KeyRecord, VersionRecord } from './key-record.ts';
import { currentVersion, effectiveState, rotationDueAt } from './key-rules.ts';

/** The key as the API shows it, at this moment. */
export function viewOf(key: KeyRecord, now: number): KeyView {
  const current = currentVersion(key, now);
  const newest = key.versions.at(-1)!;
  return {
    id: key.id,
    name: key.name,
    folder: key.folder,
    purpose: key.purpose,
    algorithm: key.algorithm,
    schemes: [...key.schemes],
    keystore: key.keystore,
    owner: key.ownerId,
    labels: { ...key.labels },
    policy: { ...key.policy },
    currentVersion: current?.version ?? null,
    state: effectiveState(current ?? newest, now),
    createdAt: formatTime(key.createdAt),
    rotationDueAt: timeOrNull(rotationDueAt(key, now)),
    destroyAt: timeOrNull(key.destroyAt),
    revision: key.revision,
    versions: key.versions.map((version) => versionView(version, now)),
  };
}

function versionView(version: VersionRecord, now: number): KeyVersionView {
  return {
    version: version.version,
    algorithm: version.algorithm,
    state: effectiveState(version, now),
    fingerprint: version.fingerprint,
    publicKey: version.publicKey === null ? null : pemText('PUBLIC KEY', version.publicKey),
    keystore: version.keystore,
    uri: version.uri,
    origin: version.origin,
    createdAt: formatTime(version.createdAt),
    activatesAt: timeOrNull(version.activatesAt),
    deactivatesAt: timeOrNull(version.deactivatesAt),
  };
}

function timeOrNull(milliseconds: number | null): string | null {
  return milliseconds === null ? null : formatTime(milliseconds);
}
