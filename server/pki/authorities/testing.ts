import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ResponseOf } from '../../../api/route.ts';
import { caCreateBody } from '../../../api/routes/authorities.ts';
import type { Routes } from '../../../api/routes.ts';
import type { Caller } from '../../base/caller.ts';
import { openTestKeys, type TestKeysOptions } from '../../keys/testing.ts';
import { certificatePem, parseName } from '../../x509/x509.ts';
import { CertificateSigner } from '../certificates/certificates.ts';
import { type Addresses, newSerial, planCertificate } from '../rules/rules.ts';
import { Authorities, createAuthorityHandlers, destructionGuards } from './authorities.ts';
import type { Signing } from './signing.ts';

/** Authorities over real keys, keystores and a database, with rights that a test can take away. */
export async function openTestAuthorities(
  options: TestKeysOptions & {
    readonly addresses?: (keyFingerprint: string) => Addresses;
    readonly notes?: readonly string[];
    /** Puts itself between the handlers and the signer. */
    readonly signing?: (signer: CertificateSigner) => Signing;
  } = {},
) {
  const keys = await openTestKeys({ destructionGuards, ...options });
  const { storage, clock, commands } = keys;
  const authorities = new Authorities({
    storage,
    keys: keys.keys,
    clock,
    addresses: options.addresses ?? (() => ({})),
    notes: () => options.notes ?? [],
  });
  const signer = new CertificateSigner({ storage, keys: keys.keys, clock });
  const signing = options.signing?.(signer) ?? signer;
  const handlers = createAuthorityHandlers(authorities, signing, commands);
  type Route = keyof typeof handlers;
  const by = async <Id extends Route>(
    caller: Caller,
    id: Id,
    { params = {}, body = {}, query = {}, idempotencyKey }: TestRequest,
  ): Promise<ResponseOf<Routes[Id]>> =>
    (handlers[id] as unknown as (call: object) => Promise<ResponseOf<Routes[Id]>>)({
      caller,
      params,
      body,
      query,
      idempotencyKey,
    });
  const ca = <Id extends Route>(id: Id, name: string, body: object = {}, query: object = {}) =>
    by(keys.caller(), id, { params: { ca: name }, body, query });
  /** Makes a CA; P-256 unless it says otherwise. */
  const make = (name: string, body: object = {}, idempotencyKey?: string) =>
    by(keys.caller(), 'ca.create', {
      body: caCreateBody.parse({
        name,
        subject: `CN=${name},O=Example`,
        algorithm: 'p-256',
        ...body,
      }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });
  /** Has a CA issue a certificate for a fresh key pair, and stores it: its PEM. */
  const leaf = async (name: string) => {
    const authority = await authorities.byId((await authorities.find(name))!.key.id);
    const version = authorities.current(authority, clock.now());
    const facts = await authorities.issuerFacts(authority, version);
    const profile = await authorities.profile('tls-client');
    const { publicKey } = generateKeyPairSync('ed25519');
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const wanted = { subject: parseName('CN=leaf'), names: [], spki };
    const context = { now: clock.now(), serial: newSerial() };
    const fields = planCertificate(profile, facts, wanted, context);
    const signed = await signer.sign(
      { authority, version, profile, fields, createdBy: 'prn_test', chain: facts.chain },
      async (_intent, _about, steps = []) => {
        await storage.commit({ steps, entries: [] });
      },
    );
    await storage.commit({ steps: signed.steps, entries: [] });
    return certificatePem(signed.certificate.der);
  };
  return {
    ...keys,
    leaf,
    authorities,
    signer,
    by,
    ca,
    make,
    [Symbol.asyncDispose]: keys.close,
  };
}

interface TestRequest {
  readonly params?: object;
  readonly body?: object;
  readonly query?: object;
  readonly idempotencyKey?: string;
}

/** The certificates of a PEM text, one by one. */
export function pemList(text: string): string[] {
  return text.split(/(?<=-----END CERTIFICATE-----\n)/).filter((part) => part !== '');
}

/**
 * What `openssl verify` says of a certificate at a time (milliseconds since 1970), with these trusted
 * and with those on the way: undefined where it accepts it.
 */
export function opensslRefuses(
  folder: string,
  certificate: string,
  given: { readonly trusted: string; readonly untrusted?: string; readonly now: number },
): string | undefined {
  const files = {
    certificate,
    trusted: given.trusted,
    untrusted: given.untrusted ?? given.trusted,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const at = (name: keyof typeof files) => join(folder, name);
  const when = ['-attime', String(Math.floor(given.now / 1000))];
  const strict = ['-x509_strict', '-no-CAfile', '-no-CApath', '-no-CAstore'];
  const which = ['-trusted', at('trusted'), '-untrusted', at('untrusted'), at('certificate')];
  try {
    execFileSync('openssl', ['verify', ...strict, ...when, ...which], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return String((error as { stderr?: Buffer }).stderr ?? error);
  }
}
