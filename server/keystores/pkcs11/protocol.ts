import type { FaultKind } from './return-values.ts';

/**
 * What the service asks of the child, by code. `repeatable`: a second try does no harm, since
 * nobody saw what the first gave, or since it ends in the same state. `isUse`: quick, with a
 * deadline for each item; else with one of its own.
 */
export const commands = {
  start: { code: 1, repeatable: false, isUse: false },
  probe: { code: 2, repeatable: true, isUse: true },
  sign: { code: 3, repeatable: true, isUse: true },
  decrypt: { code: 4, repeatable: true, isUse: true },
  derive: { code: 5, repeatable: true, isUse: true },
  generate: { code: 6, repeatable: false, isUse: false },
  import: { code: 7, repeatable: false, isUse: false },
  find: { code: 8, repeatable: true, isUse: false },
  destroy: { code: 9, repeatable: true, isUse: false },
  /** Handles that a thread knows are forgotten: another thread has removed objects. */
  forget: { code: 10, repeatable: true, isUse: true },
  /** A key goes from one token to another: the three steps of it, in both. */
  transferKey: { code: 11, repeatable: true, isUse: false },
  transferOut: { code: 12, repeatable: false, isUse: false },
  transferIn: { code: 13, repeatable: false, isUse: false },
} as const satisfies Record<string, { code: number; repeatable: boolean; isUse: boolean }>;

export type CommandName = keyof typeof commands;

const namesByCode = new Map<number, CommandName>(
  Object.entries(commands).map(([name, row]) => [row.code, name as CommandName]),
);

export function commandNamed(code: number): CommandName | undefined {
  return namesByCode.get(code);
}

/** Codes of answers. */
export const statusOk = 0;
export const statusFault = 1;

/** Lanes begin behind standard input, output, error and the control link. */
export const controlDescriptor = 3;
export const firstLaneDescriptor = 4;

/** The head of a fault. */
export interface Fault {
  readonly kind: FaultKind | StartFaultKind | 'missing' | 'ambiguous' | 'exposed';
  /** The name of the return value or a short text, for the log and for people. */
  readonly text: string;
}

/** What may be wrong when a module is loaded and a token looked for. */
export type StartFaultKind =
  | 'addon-missing'
  | 'module-missing'
  | 'token-missing'
  | 'token-ambiguous'
  | 'pin-missing'
  | 'start-failed';

export interface StartRequest {
  readonly modulePath: string;
  readonly token: TokenSelector;
  /** Threads, and sessions, at most. */
  readonly lanes: number;
  /** Whether the first item is the PIN. */
  readonly hasPin: boolean;
}

/** Which token is meant; what is undefined may be anything. */
export interface TokenSelector {
  readonly token?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly model?: string | undefined;
  readonly serial?: string | undefined;
  readonly slotId?: string | undefined;
}

/** What a token says about itself. */
export interface TokenFacts {
  readonly libraryManufacturer: string;
  readonly libraryDescription: string;
  readonly libraryVersion: string;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly firmwareVersion: string;
  readonly mechanisms: readonly MechanismFacts[];
}

export interface MechanismFacts {
  readonly type: number;
  readonly minimum: number;
  readonly maximum: number;
}

export interface StartAnswer {
  readonly facts: TokenFacts;
  /** The lanes that have a session, by index. */
  readonly lanes: readonly number[];
}

export type ObjectClass = 'private' | 'secret' | 'public';

/** Which object is meant: at least one of id and label. */
export interface ObjectSelector {
  readonly class: ObjectClass;
  /** CKA_ID in hex. */
  readonly id?: string | undefined;
  readonly label?: string | undefined;
}

/** A mechanism with its parameters, as pkcs11js takes it. */
export interface MechanismCall {
  readonly mechanism: number;
  readonly parameter?: { readonly type: number; readonly [name: string]: number };
}

/** The head of `sign` and `decrypt`: the key and the way it is used. Items are inputs. */
export interface UseRequest {
  readonly key: ObjectSelector;
  readonly mechanism: MechanismCall;
  /** The longest answer. */
  readonly answerBytes: number;
}

/** The head of `derive`: items are the peers' points. */
export interface DeriveRequest {
  readonly key: ObjectSelector;
  readonly mechanism: number;
  readonly secretBytes: number;
}

/** An attribute: numbers and booleans as they are, bytes as hex. */
export interface TemplateEntry {
  readonly type: number;
  readonly value: number | boolean | { readonly hex: string } | { readonly text: string };
}

export interface GenerateRequest {
  readonly mechanism: number;
  /** Empty for secret keys. */
  readonly publicTemplate: readonly TemplateEntry[];
  readonly privateTemplate: readonly TemplateEntry[];
  readonly id: string;
  readonly isSecret: boolean;
}

/** Items: the key that wraps, the wrapped key. */
export interface ImportRequest {
  readonly mechanism: number;
  readonly template: readonly TemplateEntry[];
  /** The public half, made as an object of its own; empty for secret keys. */
  readonly publicTemplate: readonly TemplateEntry[];
  readonly id: string;
  readonly isSecret: boolean;
}

/** Makes an RSA key in the token that takes a key in. `id`: its CKA_ID in hex. */
export interface TransferKeyRequest {
  readonly id: string;
  readonly modulusBits: number;
}

/** Its public half, in hex. */
export interface TransferKey {
  readonly modulus: string;
  readonly publicExponent: string;
}

/** Makes a key and wraps it for the other token. Items of the answer: AES key, key; both wrapped. */
export interface TransferOutRequest extends GenerateRequest {
  readonly transfer: TransferKey;
  readonly wrapRsa: MechanismCall;
  readonly wrapAes: number;
}

/** Items: those of the answer above. */
export interface TransferInRequest extends ImportRequest {
  readonly transferId: string;
  readonly unwrapRsa: MechanismCall;
  readonly unwrapAes: number;
}

export interface FindRequest {
  readonly id?: string | undefined;
  readonly label?: string | undefined;
  /** Whether the numbers of public keys are read. */
  readonly details: boolean;
}

/** An object of a token; numbers of public keys in hex where the token gives them. */
export interface FoundObject {
  readonly class: ObjectClass;
  readonly keyType: number;
  readonly id: string;
  readonly label: string;
  readonly sensitive?: boolean | undefined;
  readonly extractable?: boolean | undefined;
  readonly alwaysSensitive?: boolean | undefined;
  readonly neverExtractable?: boolean | undefined;
  readonly onToken?: boolean | undefined;
  readonly isPrivate?: boolean | undefined;
  readonly local?: boolean | undefined;
  readonly modulus?: string | undefined;
  readonly publicExponent?: string | undefined;
  readonly ecParameters?: string | undefined;
  readonly ecPoint?: string | undefined;
  readonly value?: string | undefined;
  readonly valueBytes?: number | undefined;
  readonly publicKeyInfo?: string | undefined;
}

export interface DestroyRequest {
  /** Which key it is, of those of the name: with it goes its public half. All where left out. */
  readonly class?: ObjectClass | undefined;
  readonly id?: string | undefined;
  readonly label?: string | undefined;
}
