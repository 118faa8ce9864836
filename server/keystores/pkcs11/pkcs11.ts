import type { KeyObject } from 'node:crypto';
import type { AlgorithmName } from '../../../api/algorithms.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { fingerprintOf, type KeyMaterial } from '../../crypto/crypto.ts';
import type {
  AdoptedKey,
  KeyIdentity,
  KeyLocation,
  KeystoreDescription,
  KeystoreHealth,
  KeystoreObject,
  StoredKey,
} from '../keystore.ts';
import { abilitiesOf, type TokenAbility } from './abilities.ts';
import { callLimits } from './call.ts';
import { TokenFaultError } from './faults.ts';
import { FreshLook } from './fresh-look.ts';
import { importMechanism, wrapForImport } from './importing.ts';
import { keyKindOf, type TokenKeyKind } from './key-kinds.ts';
import { proveKey } from './key-proof.ts';
import type { Pkcs11Keystore, Pkcs11KeystoreOptions, Pkcs11Metrics } from './keystore-types.ts';
import type {
  DestroyRequest,
  FindRequest,
  FoundObject,
  ObjectSelector,
  TokenFacts,
} from './protocol.ts';
import { publicHalfOf } from './public-half.ts';
import { createRemoteKey } from './remote.ts';
import { secretAlgorithmOf, secretFingerprint } from './secret-keys.ts';
import { readSettings } from './settings.ts';
import { Supervisor } from './supervisor.ts';
import { generateRequest } from './templates.ts';
import { type TokenKey, tokenKeys } from './token-keys.ts';
import { classOf, idOf, isAddressOf, keyUri, namesOf, selectorOf } from './token-names.ts';
import { TokenView } from './token-view.ts';
import { TokenTransfer } from './transfer.ts';
import { UseFigures } from './use-figures.ts';

export type { TokenAbility } from './abilities.ts';
export { TokenFaultError } from './faults.ts';
export type { Pkcs11Keystore, Pkcs11KeystoreOptions, Pkcs11Metrics } from './keystore-types.ts';
export { pinFileVersion } from './pin-file.ts';
export { type CheckedModule, type Pkcs11Settings, readSettings } from './settings.ts';
export type { TokenKey } from './token-keys.ts';
export { addressOf, withoutToken } from './token-names.ts';
export { formatPkcs11Uri, parsePkcs11Uri } from './uri.ts';

/**
 * How old a child must be before one takes its place to look for a key: for modules that are known
 * to need it, and for others.
 */
const renewMilliseconds = { usual: 5000, other: 60_000 } as const;

/**
 * `pkcs11:`: keys that are made, kept and used in an HSM, a TPM or a card. The module runs in a
 * child process, which starts with the first use. Errors: `config-invalid` for a URI that is not
 * right; later `keystore-unavailable`, `capability-missing`, `wrong-passphrase`.
 */
export function createPkcs11Keystore(options: Pkcs11KeystoreOptions): Pkcs11Keystore {
  return new TokenKeystore(options);
}

class TokenKeystore implements Pkcs11Keystore {
  readonly name: string;
  readonly kind = 'pkcs11';
  readonly #options: Pkcs11KeystoreOptions;
  readonly #supervisor: Supervisor;
  readonly #freshLook: FreshLook;
  readonly #figures = new UseFigures();
  readonly #tokenLabel: string | undefined;
  readonly transfer: TokenTransfer;
  #view: TokenView | undefined;

  constructor(options: Pkcs11KeystoreOptions) {
    const { name, uri, log, clock, environment, limits } = options;
    const read = readSettings(uri);
    const settings = { ...read, environment: { ...environment, ...read.environment } };
    this.name = name;
    this.#options = options;
    this.#tokenLabel = settings.token.token;
    const { beforeStart, refusedPin, recallRefusedPin } = options;
    const supervised = {
      ...{ name, settings, log, clock, beforeStart, refusedPin, recallRefusedPin },
      limits: { ...callLimits, ...limits },
    };
    this.#supervisor = new Supervisor(supervised);
    this.#freshLook = new FreshLook(supervised);
    this.transfer = new TokenTransfer({
      token: () => this.#token(),
      kindOf: (algorithm, token) => this.#kindOf(algorithm, token),
      call: (...asked) => this.#supervisor.call(...asked),
      refuseExisting: (identity) => this.#refuseExisting(identity),
      keep: (...made) => this.#keep(...made),
      open: (algorithm, stored, { keyId, version }) =>
        this.open({ keyId, version, algorithm, ...stored }),
    });
  }

  get refusedPin(): string | undefined {
    return this.#supervisor.refusedPin;
  }

  async abilities(): Promise<TokenAbility[]> {
    return abilitiesOf(await this.#token());
  }

  /** Import follows from the token: until that has been asked it counts as possible. */
  get capabilities() {
    const canImport = this.#view === undefined || importMechanism(this.#view) !== undefined;
    return { import: canImport, export: false, list: true, attest: false, external: true };
  }

  async facts(): Promise<TokenFacts> {
    return (await this.#token()).facts;
  }

  async generate(identity: KeyIdentity, algorithm: AlgorithmName): Promise<StoredKey> {
    const token = await this.#token();
    const kind = this.#kindOf(algorithm, token);
    await this.#refuseExisting(identity);
    const request = generateRequest(kind, namesOf(identity));
    return this.#keep(algorithm, await this.#make('generate', request), identity);
  }

  async import(identity: KeyIdentity, material: KeyMaterial): Promise<StoredKey> {
    const token = await this.#token();
    const kind = this.#kindOf(material.algorithm, token);
    const wrapped = wrapForImport(material, kind, namesOf(identity), token);
    await this.#refuseExisting(identity);
    const found = await this.#make('import', wrapped.request, wrapped.items);
    return this.#keep(material.algorithm, found, identity, material.fingerprint);
  }

  async open(location: KeyLocation): Promise<KeyMaterial> {
    const selector = selectorOf(location, this.#tokenLabel);
    const { algorithm } = location;
    const request = { id: selector.id, label: selector.label, details: true };
    const found = await this.#findStored(request, (one) => one.class === selector.class);
    if (found === undefined) throw this.#missing();
    return this.#material(algorithm, selector, found);
  }

  async destroy(location: KeyLocation): Promise<void> {
    const key = selectorOf(location, this.#tokenLabel);
    await this.#remove(key);
    // Gone is what nobody finds who looks at the token anew.
    await this.#freshLook.destroy(this.#supervisor.refusedPin, key);
  }

  discard(identity: KeyIdentity): Promise<void> {
    return this.#remove({ id: idOf(identity) });
  }

  async exists(identity: KeyIdentity): Promise<boolean> {
    return (await this.#find({ id: idOf(identity), details: false })).length > 0;
  }

  isAt(identity: KeyIdentity, uri: string): boolean {
    return isAddressOf(identity, uri);
  }

  async adopt(object: KeystoreObject): Promise<AdoptedKey> {
    const token = await this.#token();
    const key = await this.#named(object);
    const selection = key.id === '' ? { label: key.label } : { id: key.id };
    const found = await this.#find({ ...selection, details: true });
    const algorithm =
      key.class === 'secret' ? secretAlgorithmOf(key) : publicHalfOf(found).algorithm;
    if (algorithm === undefined) throw this.#unsupported('keys of this kind that it can use');
    const selector: ObjectSelector = { class: classOf(algorithm), ...selection };
    const material = await this.#material(algorithm, selector, found);
    await this.#prove(material);
    const extractable = key.extractable !== false || key.sensitive !== true;
    return { algorithm, stored: storedAt(keyUri(token.facts, key), material), extractable };
  }

  async describe(): Promise<KeystoreDescription> {
    const { facts, quirks } = await this.#token();
    // No attribute of PKCS #11 before v3.2 speaks of certificates: the operator does.
    const declared = quirks.isSoftware ? undefined : this.#options.assurance;
    return {
      assurance: declared ?? 'none',
      assuranceFrom: declared !== undefined ? 'operator' : quirks.isSoftware ? 'token' : 'nobody',
      device: {
        label: facts.label,
        manufacturer: facts.manufacturer,
        model: facts.model,
        serial: facts.serial,
        firmware: facts.firmwareVersion,
      },
    };
  }

  async list(): Promise<TokenKey[]> {
    const { facts } = await this.#token();
    const found = await this.#find({ details: true });
    return tokenKeys(facts, found);
  }

  async health(): Promise<KeystoreHealth> {
    try {
      await this.#token();
      await this.#supervisor.probe();
      return { ready: true, reason: undefined };
    } catch (error) {
      return { ready: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  metrics(): Pkcs11Metrics {
    return { ...this.#supervisor.counts, ...this.#figures.snapshot() };
  }

  async stop(): Promise<void> {
    await Promise.all([this.#supervisor.stop(), this.#freshLook.stop()]);
  }

  async #token(): Promise<TokenView> {
    const facts = await this.#supervisor.facts();
    if (this.#view?.facts !== facts) this.#view = new TokenView(facts);
    return this.#view;
  }

  #kindOf(algorithm: AlgorithmName, token: TokenView): TokenKeyKind {
    const kind = keyKindOf(algorithm, token);
    if (kind === undefined) throw this.#unsupported(algorithm);
    return kind;
  }

  async #make(
    command: 'generate' | 'import',
    request: object,
    items: readonly Uint8Array[] = [],
  ): Promise<FoundObject[]> {
    const head = Buffer.from(JSON.stringify(request));
    const answer = await this.#supervisor.call(command, head, items);
    return JSON.parse(answer.head.toString('utf8')) as FoundObject[];
  }

  /** Proves a key that was just made; one that is not what it should be is removed again. */
  async #keep(
    algorithm: AlgorithmName,
    found: FoundObject[],
    identity: KeyIdentity,
    fingerprint?: string,
  ): Promise<StoredKey> {
    const key = found.find((one) => one.class === classOf(algorithm));
    try {
      if (key === undefined) throw this.#missing();
      const selector = { class: classOf(algorithm), id: idOf(identity) };
      const material = await this.#material(algorithm, selector, found);
      if (fingerprint !== undefined && material.fingerprint !== fingerprint) {
        throw new KeyreeveError('integrity-failed', 'The token took in another key.');
      }
      await this.#prove(material);
      const { facts } = await this.#token();
      return storedAt(keyUri(facts, key), material);
    } catch (error) {
      await this.discard(identity).catch(() => undefined);
      throw error;
    }
  }

  async #prove(material: KeyMaterial): Promise<void> {
    if (material.publicKey === undefined) return;
    await proveKey(material.privateKey, material.publicKey);
  }

  async #material(
    algorithm: AlgorithmName,
    selector: ObjectSelector,
    found: readonly FoundObject[],
  ): Promise<KeyMaterial> {
    const token = await this.#token();
    const privateKey = (publicKey?: KeyObject) =>
      createRemoteKey({
        ...{ algorithm, selector, publicKey, token, keystore: this.name },
        supervisor: this.#supervisor,
        recorder: this.#figures,
        now: () => this.#options.clock.monotonic(),
      });
    if (selector.class === 'secret') {
      const fingerprint = await secretFingerprint(this.#supervisor, selector);
      const none = { publicKey: undefined, spki: undefined };
      return { algorithm, privateKey: privateKey(), ...none, fingerprint };
    }
    const { key: publicKey, spki, ...half } = publicHalfOf(found);
    if (half.algorithm !== algorithm) {
      throw new KeyreeveError('integrity-failed', 'The key in the token has another algorithm.');
    }
    const fingerprint = fingerprintOf(spki);
    return { algorithm, privateKey: privateKey(publicKey), publicKey, spki, fingerprint };
  }

  async #find(request: FindRequest): Promise<FoundObject[]> {
    const answer = await this.#supervisor.call('find', Buffer.from(JSON.stringify(request)));
    return JSON.parse(answer.head.toString('utf8')) as FoundObject[];
  }

  /** As `#find`, with a second look by a new child at what an older one may not see. */
  async #findAgain(request: FindRequest): Promise<FoundObject[]> {
    const { quirks } = await this.#token();
    const found = await this.#find(request);
    const age = quirks.readsObjectsOnce ? renewMilliseconds.usual : renewMilliseconds.other;
    const isNew = found.length === 0 && this.#supervisor.renew(age);
    return isNew ? this.#find(request) : found;
  }

  /**
   * A key that has a row is there: what another node has just made, a new child alone may see. Most
   * modules look anew each time, but SoftHSM2 can miss what another process is writing, or half of it.
   */
  async #findStored(
    request: FindRequest,
    isMeant: (object: FoundObject) => boolean,
  ): Promise<FoundObject[] | undefined> {
    const found = await this.#findAgain(request);
    if (found.some(isMeant)) return found;
    if (!(await this.#freshLook.sees(this.#supervisor.refusedPin, request, isMeant))) {
      return undefined;
    }
    this.#supervisor.renew(0);
    const again = await this.#find(request);
    return again.some(isMeant) ? again : undefined;
  }

  /** The one private or secret key that is meant. Errors: `not-found`, `conflict`. */
  async #named({ label, id }: KeystoreObject): Promise<FoundObject> {
    if (label === undefined && id === undefined) {
      throw new KeyreeveError('invalid-request', 'Name a key of the token by label or id.');
    }
    if (id !== undefined && !/^(?:[0-9a-f]{2})+$/.test(id)) {
      throw new KeyreeveError('invalid-request', 'The id of the key is not lower-case hex.');
    }
    const found = await this.#findAgain({ label, id, details: true });
    const keys = found.filter((one) => one.class !== 'public');
    if (keys.length === 1) return keys[0]!;
    if (keys.length === 0) {
      throw new KeyreeveError('not-found', 'The token has no private key of that name.', {
        hint: 'Name it by its label, or by its CKA_ID in hex.',
      });
    }
    throw new KeyreeveError('conflict', `${keys.length} keys of the token have that name.`, {
      hint: 'Name one by its CKA_ID in hex.',
    });
  }

  async #refuseExisting(identity: KeyIdentity): Promise<void> {
    if (!(await this.exists(identity))) return;
    throw new KeyreeveError('already-exists', 'The token has a key of this id already.', {
      hint: 'Choose another id: keys in tokens are never replaced.',
    });
  }

  async #remove(request: DestroyRequest): Promise<void> {
    await this.#supervisor.call('destroy', Buffer.from(JSON.stringify(request)));
    await this.#supervisor.forget();
  }

  #missing(): KeyreeveError {
    return new TokenFaultError(this.#supervisor.context, { kind: 'missing', text: 'not found' });
  }

  #unsupported(what: string): KeyreeveError {
    const { label, model } = this.#view?.facts ?? { label: '', model: '' };
    return new KeyreeveError(
      'capability-missing',
      `The token "${label}" (${model}) of the keystore "${this.name}" does not hold ${what}.`,
      { hint: 'Choose another algorithm, or another keystore.' },
    );
  }
}

function storedAt(uri: string, { spki, fingerprint }: KeyMaterial): StoredKey {
  return { uri, privateBlob: null, storeKeyId: null, publicKey: spki ?? null, fingerprint };
}
