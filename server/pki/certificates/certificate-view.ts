import type { CertificateView } from '../../../api/routes/certificates.ts';
import type { Caller } from '../../base/caller.ts';
import { formatTime } from '../../base/clock.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import { pemText } from '../../base/pem.ts';
import { type Keys, resourceOf } from '../../keys/keys.ts';
import type { Schema } from '../../storage/storage.ts';

export type CertificateRow = Schema['certificate'];
export type CertificateState = CertificateView['state'];

/** A row without the certificate itself. */
export type ListedRow = Omit<CertificateRow, 'der'>;

/** What became of a certificate: a revoked one stays so when it ends. */
export function stateOf(
  row: Pick<CertificateRow, 'revoked_at' | 'reason' | 'not_after'>,
  now: number,
): CertificateState {
  if (row.revoked_at !== null && row.reason !== 'certificateHold') return 'revoked';
  if (row.not_after <= now) return 'expired';
  return row.revoked_at === null ? 'valid' : 'on-hold';
}

/** The certificate as the API shows it, at this moment. */
export function viewOf(
  row: ListedRow,
  names: { readonly ca: string | null; readonly key: string | null },
  now: number,
): CertificateView {
  return {
    id: row.id,
    ca: names.ca,
    caVersion: row.ca_version,
    serial: row.serial,
    subject: row.subject,
    names: JSON.parse(row.names_json),
    profile: row.profile,
    state: stateOf(row, now),
    notBefore: formatTime(row.not_before),
    notAfter: formatTime(row.not_after),
    fingerprint: row.fingerprint,
    keyFingerprint: row.key_fingerprint,
    key: names.key,
    keyVersion: row.key_version,
    issuedAt: formatTime(row.created_at),
    issuedBy: row.created_by,
    revokedAt: timeOrNull(row.revoked_at),
    reason: row.reason,
    invalidFrom: timeOrNull(row.invalid_from),
  };
}

export function pemOf(der: Uint8Array | null): string | null {
  return der === null ? null : pemText('CERTIFICATE', der);
}

/** Views of rows for a caller: keys that he may not see have no name for him. */
export class Views {
  readonly #keys: Keys;
  readonly #caller: Caller;
  readonly #names = new Map<string, string | null>();

  constructor(keys: Keys, caller: Caller) {
    this.#keys = keys;
    this.#caller = caller;
  }

  async of(row: ListedRow) {
    const [ca, key] = [await this.#caName(row.ca_id), await this.#keyName(row.key_id)];
    return viewOf(row, { ca, key }, this.#keys.clock.now());
  }

  async #caName(id: string | null): Promise<string | null> {
    return id === null ? null : ((await this.#keys.store.find(id))?.name ?? null);
  }

  async #keyName(id: string | null): Promise<string | null> {
    if (id === null) return null;
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const key = await this.#keys.store.find(id);
    const name =
      key !== undefined &&
      isAllowed(() => this.#keys.authorise(this.#caller, 'key.show', resourceOf(key)))
        ? key.name
        : null;
    this.#names.set(id, name);
    return name;
  }
}

/** Whether a check passes; any other error than a refusal goes on. */
export function isAllowed(check: () => void): boolean {
  try {
    check();
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'forbidden')) return false;
    throw error;
  }
}

export function timeOrNull(milliseconds: number | null): string | null {
  return milliseconds === null ? null : formatTime(milliseconds);
}
