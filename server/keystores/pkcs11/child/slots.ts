import type { MechanismFacts, TokenFacts, TokenSelector } from '../protocol.ts';
import { type Handle, type NativeModule, type NativeTokenInfo, StartError } from './addon.ts';

const loginRequired = 0x04;
const tokenInitialized = 0x400;

/** The slot of the one token that is meant. Error: StartError. */
export function findSlot(module: NativeModule, selector: TokenSelector): Handle {
  const found: Handle[] = [];
  for (const slot of module.C_GetSlotList(true)) {
    const info = tokenInfo(module, slot);
    if (info !== undefined && matches(info, slot, selector)) found.push(slot);
  }
  if (found.length === 1) return found[0]!;
  const isNone = found.length === 0;
  throw new StartError(
    isNone ? 'token-missing' : 'token-ambiguous',
    isNone ? 'no such token' : `${found.length} tokens match`,
  );
}

/** Whether keys of the token are used after a login only. */
export function needsLogin(module: NativeModule, slot: Handle): boolean {
  return (module.C_GetTokenInfo(slot).flags & loginRequired) !== 0;
}

/** What module and token say about themselves. */
export function readFacts(module: NativeModule, slot: Handle): TokenFacts {
  const library = module.C_GetInfo();
  const token = module.C_GetTokenInfo(slot);
  return {
    libraryManufacturer: trim(library.manufacturerID),
    libraryDescription: trim(library.libraryDescription),
    libraryVersion: `${library.libraryVersion.major}.${library.libraryVersion.minor}`,
    label: trim(token.label),
    manufacturer: trim(token.manufacturerID),
    model: trim(token.model),
    serial: trim(token.serialNumber),
    firmwareVersion: `${token.firmwareVersion.major}.${token.firmwareVersion.minor}`,
    mechanisms: module.C_GetMechanismList(slot).map((type) => mechanismFacts(module, slot, type)),
  };
}

function mechanismFacts(module: NativeModule, slot: Handle, type: number): MechanismFacts {
  try {
    const { minKeySize, maxKeySize } = module.C_GetMechanismInfo(slot, type);
    return { type, minimum: minKeySize, maximum: maxKeySize };
  } catch {
    return { type, minimum: 0, maximum: 0 };
  }
}

function tokenInfo(module: NativeModule, slot: Handle): NativeTokenInfo | undefined {
  try {
    const info = module.C_GetTokenInfo(slot);
    return (info.flags & tokenInitialized) === 0 ? undefined : info;
  } catch {
    // A slot whose token cannot be read is none that is looked for.
    return undefined;
  }
}

function matches(info: NativeTokenInfo, slot: Handle, selector: TokenSelector): boolean {
  return (
    isSame(selector.token, info.label) &&
    isSame(selector.manufacturer, info.manufacturerID) &&
    isSame(selector.model, info.model) &&
    isSame(selector.serial, info.serialNumber) &&
    (selector.slotId === undefined || BigInt(selector.slotId) === slot.readBigUInt64LE(0))
  );
}

function isSame(wanted: string | undefined, found: string): boolean {
  return wanted === undefined || wanted === trim(found);
}

// Fixed fields are padded with blanks (PKCS #11 v3.1, 3.1); some modules pad with zeros.
function trim(text: string): string {
  return text.replaceAll(/[ \0]+$/g, '');
}
