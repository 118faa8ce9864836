import { createRequire } from 'node:module';
import type { MechanismCall, StartFaultKind } from '../protocol.ts';

/** A handle of a slot, a session or an object: eight bytes, as pkcs11js gives them. */
export type Handle = Buffer;

export interface Attribute {
  readonly type: number;
  readonly value?: number | boolean | string | Buffer;
}

export interface NativeMechanism {
  readonly mechanism: number;
  readonly parameter?: MechanismCall['parameter'] | EcdhParameter;
}

interface EcdhParameter {
  readonly type: number;
  readonly kdf: number;
  readonly publicData: Buffer;
}

interface Version {
  readonly major: number;
  readonly minor: number;
}

/** The functions of a module that the product calls, as pkcs11js offers them: all of them block. */
export interface NativeModule {
  load(path: string): void;
  C_Initialize(options?: { flags: number }): void;
  C_Finalize(): void;
  C_GetInfo(): { manufacturerID: string; libraryDescription: string; libraryVersion: Version };
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetTokenInfo(slot: Handle): NativeTokenInfo;
  C_GetMechanismList(slot: Handle): number[];
  C_GetMechanismInfo(slot: Handle, type: number): { minKeySize: number; maxKeySize: number };
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_GetSessionInfo(session: Handle): { state: number };
  C_Login(session: Handle, userType: number, pin?: string): void;
  C_FindObjectsInit(session: Handle, template: Attribute[]): void;
  C_FindObjects(session: Handle, maximum: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GetAttributeValue(session: Handle, object: Handle, template: Attribute[]): { value: Buffer }[];
  C_CreateObject(session: Handle, template: Attribute[]): Handle;
  C_DestroyObject(session: Handle, object: Handle): void;
  C_SignInit(session: Handle, mechanism: NativeMechanism, key: Handle): void;
  C_Sign(session: Handle, data: Buffer, output: Buffer): Buffer;
  C_DecryptInit(session: Handle, mechanism: NativeMechanism, key: Handle): void;
  C_Decrypt(session: Handle, data: Buffer, output: Buffer): Buffer;
  C_DeriveKey(
    session: Handle,
    mechanism: NativeMechanism,
    key: Handle,
    template: Attribute[],
  ): Handle;
  C_GenerateKey(session: Handle, mechanism: NativeMechanism, template: Attribute[]): Handle;
  C_GenerateKeyPair(
    session: Handle,
    mechanism: NativeMechanism,
    publicTemplate: Attribute[],
    privateTemplate: Attribute[],
  ): { publicKey: Handle; privateKey: Handle };
  C_SetAttributeValue(session: Handle, object: Handle, template: Attribute[]): void;
  C_WrapKey(
    session: Handle,
    mechanism: NativeMechanism,
    wrappingKey: Handle,
    key: Handle,
    output: Buffer,
  ): Buffer;
  C_UnwrapKey(
    session: Handle,
    mechanism: NativeMechanism,
    key: Handle,
    wrapped: Buffer,
    template: Attribute[],
  ): Handle;
}

export interface NativeTokenInfo {
  readonly label: string;
  readonly manufacturerID: string;
  readonly model: string;
  readonly serialNumber: string;
  readonly flags: number;
  readonly firmwareVersion: Version;
}

/** Why a module could not be started. */
export class StartError extends Error {
  readonly kind: StartFaultKind;

  constructor(kind: StartFaultKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Loads the addon and the module into this process, without C_Initialize. Error: StartError. */
export function loadModule(path: string): NativeModule {
  let module: NativeModule;
  try {
    const addon = createRequire(import.meta.url)('pkcs11js') as { PKCS11: new () => NativeModule };
    module = new addon.PKCS11();
  } catch (error) {
    throw new StartError('addon-missing', messageOf(error));
  }
  try {
    module.load(path);
  } catch (error) {
    throw new StartError('module-missing', messageOf(error));
  }
  return module;
}

/** The return value of a function that failed, or undefined where it is another kind of error. */
export function returnValueOf(error: unknown): number | undefined {
  const isNative = error instanceof Error && error.name === 'Pkcs11Error' && 'code' in error;
  return isNative ? Number(error.code) : undefined;
}

export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}
