import type {
  CommandName,
  DestroyRequest,
  Fault,
  FindRequest,
  GenerateRequest,
  ImportRequest,
  TransferInRequest,
  TransferKeyRequest,
  TransferOutRequest,
} from '../protocol.ts';
import { commands } from '../protocol.ts';
import { faultKind } from '../return-values.ts';
import { type Handle, type NativeModule, returnValueOf } from './addon.ts';
import { deriveSecrets, KeyUses } from './key-uses.ts';
import { logIn, PinRefusedError, type SharedLogin } from './login.ts';
import { ExposedKeyError, generateKey, importKey } from './making.ts';
import { describeKeys, findKeys, SelectionError } from './objects.ts';
import { makeAndWrap, makeTransferKey, takeWrapped } from './transferring.ts';

const possibleMaximum = 10_000;
const sessionFlags = { serial: 4, readWrite: 2 } as const;

export interface Result {
  /** Goes out as JSON; nothing for uses. */
  readonly head?: unknown;
  readonly items?: readonly Uint8Array[];
}

/** What stopped a command, in the words of the other side. */
export class CommandError extends Error {
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(fault.text);
    this.fault = fault;
  }
}

/**
 * One session with a token and what it is used for, one call after the other. A session that went
 * bad is opened anew, with a login where that is gone, and the call is made once more where that
 * does no harm.
 */
export class TokenSession {
  readonly #module: NativeModule;
  readonly #slot: Handle;
  readonly #login: SharedLogin;
  #session: Handle | undefined;
  #uses: KeyUses | undefined;
  /** Uses that were possible, whatever became of the session since. */
  readonly #possible = new Set<string>();

  constructor(module: NativeModule, slot: Handle, login: SharedLogin) {
    this.#module = module;
    this.#slot = slot;
    this.#login = login;
  }

  /** Opens the session and logs in. Errors: those of the module. */
  open(): Handle {
    if (this.#session !== undefined) return this.#session;
    const flags = sessionFlags.serial | sessionFlags.readWrite;
    const session = this.#module.C_OpenSession(this.#slot, flags);
    this.#session = session;
    this.#uses = new KeyUses(this.#module, session);
    logIn(this.#module, session, this.#login);
    return session;
  }

  close(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#uses = undefined;
    if (session === undefined) return;
    try {
      this.#module.C_CloseSession(session);
    } catch {
      // It was gone already.
    }
  }

  /** Whether the token answers. Errors: those of the module. */
  probe(): void {
    this.#module.C_GetTokenInfo(this.#slot);
    this.#module.C_GetSessionInfo(this.open());
  }

  /** Does one command. Error: CommandError. */
  run(command: CommandName, head: Buffer, items: readonly Buffer[]): Result {
    try {
      return this.#attempt(command, head, items);
    } catch (error) {
      if (kindOf(error) !== 'session') throw new CommandError(this.#faultOf(error));
    }
    try {
      this.close();
      if (!commands[command].repeatable && this.#isMade(head)) {
        throw new CommandError({ kind: 'other', text: 'the session ended while a key was made' });
      }
      return this.#attempt(command, head, items);
    } catch (error) {
      this.close();
      throw new CommandError(this.#faultOf(error));
    }
  }

  #attempt(command: CommandName, head: Buffer, items: readonly Buffer[]): Result {
    const session = this.open();
    const module = this.#module;
    const request = <Request>() => JSON.parse(head.toString('utf8')) as Request;
    switch (command) {
      case 'sign':
      case 'decrypt':
        return { items: this.#use(command, head, items) };
      case 'derive':
        return { items: deriveSecrets(module, session, request(), items) };
      case 'generate':
        return { head: generateKey(module, session, request<GenerateRequest>()) };
      case 'import':
        return { head: importKey(module, session, request<ImportRequest>(), items) };
      case 'transferKey':
        return { head: makeTransferKey(module, session, request<TransferKeyRequest>()) };
      case 'transferOut': {
        const { found, items: wrapped } = makeAndWrap(
          module,
          session,
          request<TransferOutRequest>(),
        );
        return { head: found, items: wrapped };
      }
      case 'transferIn':
        return { head: takeWrapped(module, session, request<TransferInRequest>(), items) };
      case 'find':
        return { head: describeKeys(module, session, request<FindRequest>()) };
      case 'destroy':
        this.#destroy(session, request<DestroyRequest>());
        return {};
      case 'forget':
        this.#forget();
        return {};
      case 'probe':
        this.probe();
        return {};
      case 'start':
        throw new Error('started already');
    }
  }

  /**
   * A key that was there and is not any more, although nobody said that it was destroyed: the
   * module has lost its token. Some find it again in a new process only.
   */
  #use(command: 'sign' | 'decrypt', head: Buffer, items: readonly Buffer[]): Buffer[] {
    const text = head.toString('latin1');
    try {
      const results = this.#uses![command](head, items);
      if (this.#possible.size >= possibleMaximum) this.#possible.clear();
      this.#possible.add(text);
      return results;
    } catch (error) {
      if (kindOf(error) !== 'missing' || !this.#possible.has(text)) throw error;
      throw new CommandError({ kind: 'device', text: 'the key is not there any more' });
    }
  }

  #forget(): void {
    this.#uses?.forget();
    this.#possible.clear();
  }

  #destroy(session: Handle, request: DestroyRequest): void {
    if (request.id === undefined && request.label === undefined) throw new Error('nothing named');
    this.#forget();
    const named = findKeys(this.#module, session, request);
    // Names in tokens are not unique: what others have under it is not ours to remove.
    const found = named.filter(({ class: one }) => {
      const isPublic = one === 'public' && request.class !== 'secret';
      return request.class === undefined || one === request.class || isPublic;
    });
    const keys = found.filter((one) => one.class !== 'public');
    if (request.class !== undefined && keys.length > 1) throw new SelectionError('ambiguous');
    // The private half first: what is left after a crash is then no key any more.
    const inOrder = [...keys, ...found.filter((one) => one.class === 'public')];
    for (const { handle } of inOrder) this.#module.C_DestroyObject(session, handle);
  }

  /** Whether the key that was to be made is there: then the first attempt did it after all. */
  #isMade(head: Buffer): boolean {
    const { id } = JSON.parse(head.toString('utf8')) as GenerateRequest;
    return findKeys(this.#module, this.open(), { id }).length > 0;
  }

  // A general error may be the caller's input or the end of the token: the token is asked.
  #faultOf(error: unknown): Fault {
    if (error instanceof CommandError) return error.fault;
    const kind = kindOf(error);
    const text = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    if (kind !== 'other') return { kind, text };
    try {
      this.probe();
      return { kind, text };
    } catch {
      return { kind: 'device', text };
    }
  }
}

function kindOf(error: unknown): Fault['kind'] {
  if (error instanceof SelectionError) return error.kind;
  if (error instanceof ExposedKeyError) return 'exposed';
  if (error instanceof PinRefusedError) return 'pin';
  const value = returnValueOf(error);
  return value === undefined ? 'other' : faultKind(value);
}
