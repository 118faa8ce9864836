import { extendedKeyUsages } from '../../api/profiles.ts';
import type { CertificateStanding } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import type { Step } from '../storage/storage.ts';
import { type Certificate, parseCertificate } from '../x509/x509.ts';
import { boundFacts } from './binding-values.ts';
import {
  type AuthorityRow,
  type BindingWithPrincipal,
  type CertificateRow,
  type CertificateStore,
  endedKeyStates,
} from './certificate-store.ts';
import {
  type Credential,
  certificateRefused,
  freezeCredential,
  requireActivePrincipal,
} from './credential.ts';
import { readRoles } from './scope.ts';

/** CAs above a certificate; longer paths are refused. */
export const authoritiesAboveMax = 12;

/**
 * Extensions that may be critical in a client certificate, because they are looked at here or when
 * it was issued: keyUsage, subjectAltName, basicConstraints, certificatePolicies, extKeyUsage. Any
 * other critical one refuses the certificate (RFC 5280, section 6.1.5).
 */
const understoodExtensions: readonly string[] = [
  '2.5.29.15',
  '2.5.29.17',
  '2.5.29.19',
  '2.5.29.32',
  '2.5.29.37',
];

/**
 * Finds out whether a client certificate logs somebody in. That the caller has its key is proven
 * by TLS; that it is byte for byte what a CA of ours has issued, by its row.
 */
export class ClientCertificates {
  readonly #store: CertificateStore;
  readonly #clock: Clock;

  constructor(store: CertificateStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  byFingerprint(fingerprint: string): Promise<CertificateRow | undefined> {
    return this.#store.byFingerprint(fingerprint);
  }

  byId(id: string): Promise<CertificateRow | undefined> {
    return this.#store.byId(id);
  }

  /** What a certificate is good for. Error: `unauthenticated`, with what is wrong with it. */
  async credential(
    row: CertificateRow,
    read: { readonly epoch: number; readonly rulesVersion: number },
  ): Promise<Credential> {
    const now = this.#clock.now();
    requireInForce(row, now, certificateRefused);
    const above = await this.#authoritiesAbove(row, now);
    const outside = await this.#certificatesAbove(above.at(-1)!, now);
    const issuers = [...above.map(({ facts }) => facts), ...outside];
    await this.#refuseLostKeys(row, issuers);
    const certificate = parsed(row);
    requireForClients(certificate);
    const binding = await this.#binding(row, certificate);
    requireActivePrincipal(binding);
    return freezeCredential({
      id: row.id,
      principalId: binding.principal_id,
      principalName: binding.principal_name,
      roles: readRoles(binding.principal_roles_json),
      folders: undefined,
      scope: {},
      standing: {
        bounds: [],
        principals: [{ id: binding.principal_id, revision: binding.principal_revision }],
        rulesVersion: read.rulesVersion,
        certificate: {
          bindingId: binding.id,
          // The certificate of a root can stand for two versions of its path only once.
          certificateIds: [...new Set([row, ...issuers].map(({ id }) => id))],
          authorities: above.map(({ caId, version }) => ({ caId, version })),
        },
      },
      expiresAt: Math.min(...[row, ...issuers].map(({ not_after }) => not_after)),
      depth: 0,
      epoch: read.epoch,
    });
  }

  /** Steps that fail a write unless the certificate, its CAs and its binding stand as they stood. */
  stillStand(standing: CertificateStanding, principalId: string, now: number): Step[] {
    return [
      this.#store.certificatesStand(standing.certificateIds, now),
      this.#store.keysStand(standing.certificateIds),
      this.#store.authoritiesStand(standing.authorities),
      this.#store.bindingStands(standing.bindingId, principalId),
    ];
  }

  /** Every CA from the issuer up, as far as they are ours; refused where one of them is not good. */
  async #authoritiesAbove(row: CertificateRow, now: number): Promise<Authority[]> {
    const path: Authority[] = [];
    let { ca_id: caId, ca_version: version } = row;
    if (caId === null || version === null) {
      throw certificateRefused('was issued by no CA of this installation');
    }
    while (caId !== null && version !== null) {
      const own: Pick<Authority, 'caId' | 'version'> = { caId, version };
      // A root has certified itself.
      if (path.at(-1)?.caId === caId && path.at(-1)?.version === version) return path;
      if (path.length === authoritiesAboveMax) throw authorityRefused('stands too deep');
      const facts: AuthorityRow | undefined = await this.#store.authority(caId, version);
      if (facts === undefined) throw authorityRefused('is not known any more');
      requireTrusted(facts, now);
      path.push({ ...own, facts });
      ({ ca_id: caId, ca_version: version } = facts);
    }
    return path;
  }

  /** Those above the topmost CA of ours, where it was certified outside: known since it came in. */
  async #certificatesAbove({ caId, facts }: Authority, now: number): Promise<CertificateRow[]> {
    if (facts.ca_id !== null) return [];
    const found = await this.#store.certificatesAbove(caId);
    for (const certificate of found) requireInForce(certificate, now, authorityRefused);
    return found;
  }

  /** One certificate that was revoked because its key is lost gives away every other of that key. */
  async #refuseLostKeys(row: CertificateRow, issuers: readonly CertificateRow[]): Promise<void> {
    const keyOf = ({ key_fingerprint }: CertificateRow) => key_fingerprint ?? '';
    const lost = await this.#store.lostKeys([row, ...issuers].map(keyOf));
    if (lost.has(keyOf(row))) throw certificateRefused('is for a key that is blocked');
    if (issuers.some((issuer) => lost.has(keyOf(issuer)))) {
      throw authorityRefused('has a key that is blocked');
    }
  }

  /** The binding by which it logs in; several may match, if they lead to one principal. */
  async #binding(row: CertificateRow, certificate: Certificate): Promise<BindingWithPrincipal> {
    const facts = boundFacts(certificate);
    const values = [...new Set(facts.map(({ value }) => value))];
    const candidates = await this.#store.bindings(row.ca_id!, values);
    const matching = candidates.filter((binding) =>
      facts.some(({ kind, value }) => kind === binding.kind && value === binding.value),
    );
    const [first] = matching;
    if (first === undefined) throw certificateRefused('is bound to no principal');
    if (matching.some((binding) => binding.principal_id !== first.principal_id)) {
      throw certificateRefused('leads to more than one principal');
    }
    return first;
  }
}

interface Authority {
  readonly caId: string;
  readonly version: number;
  readonly facts: AuthorityRow;
}

function requireTrusted(authority: AuthorityRow, now: number): void {
  if (authority.ca_state !== 'active') throw authorityRefused('is still being taken over');
  if (endedKeyStates.includes(authority.key_state)) {
    throw authorityRefused(`has a key that is ${authority.key_state}`);
  }
  requireInForce(authority, now, authorityRefused);
}

function requireInForce(row: CertificateRow, now: number, refused: (how: string) => Error): void {
  if (row.revoked_at !== null) {
    throw refused(row.reason === 'certificateHold' ? 'is on hold' : 'was revoked');
  }
  if (row.not_before > now) throw refused('is not valid yet');
  if (row.not_after <= now) throw refused('has expired');
}

function parsed(row: CertificateRow): Certificate {
  // A row found by a fingerprint has the certificate; one that was found by its id might not.
  if (row.der === null) throw certificateRefused('is not known here as a whole');
  return parseCertificate(Buffer.from(row.der));
}

/** RFC 5280, sections 4.2.1.3, 4.2.1.9 and 4.2.1.12: what it says of itself fits a TLS client. */
function requireForClients({ extensions, rawExtensions }: Certificate): void {
  const strange = rawExtensions.find(
    ({ oid, critical }) => critical && !understoodExtensions.includes(oid),
  );
  if (strange !== undefined) {
    throw certificateRefused(`has a critical extension (${strange.oid}) that is not understood`);
  }
  if (extensions.basicConstraints?.isAuthority === true) {
    throw certificateRefused('is that of a CA');
  }
  if (!extensions.extendedKeyUsage?.usages.includes(extendedKeyUsages.clientAuth)) {
    throw certificateRefused('is not for TLS clients (extended key usage clientAuth)');
  }
  if (extensions.keyUsage?.includes('digitalSignature') === false) {
    throw certificateRefused('is not for signatures (key usage digitalSignature)');
  }
}

function authorityRefused(how: string): Error {
  return certificateRefused(`is of no use: a CA above it ${how}`);
}
