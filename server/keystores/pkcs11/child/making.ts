import { attributes, keyTypes, objectClasses } from '../constants.ts';
import type { FoundObject, GenerateRequest, ImportRequest } from '../protocol.ts';
import type { Handle, NativeModule } from './addon.ts';
import { describeKeys, findKeys, nativeTemplate } from './objects.ts';

/** The AES key under which another one comes in: of this session alone, and never read out. */
export const unwrappingKey = [
  { type: attributes.class, value: objectClasses.secret },
  { type: attributes.keyType, value: keyTypes.aes },
  { type: attributes.token, value: false },
  { type: attributes.private, value: true },
  { type: attributes.sensitive, value: true },
  { type: attributes.extractable, value: false },
  { type: attributes.unwrap, value: true },
] as const;

/** The token made a key that can be read out, against what was asked. */
export class ExposedKeyError extends Error {
  constructor(what: string) {
    super(`the token made a key that is ${what}`);
  }
}

/**
 * Makes a key and reads its public half. One that the token would give away is removed again.
 * Errors: those of the module, ExposedKeyError.
 */
export function generateKey(
  module: NativeModule,
  session: Handle,
  request: GenerateRequest,
): FoundObject[] {
  const mechanism = { mechanism: request.mechanism };
  const secret = nativeTemplate(request.privateTemplate);
  if (request.isSecret) module.C_GenerateKey(session, mechanism, secret);
  else {
    module.C_GenerateKeyPair(session, mechanism, nativeTemplate(request.publicTemplate), secret);
  }
  return checkMade(module, session, request.id, true);
}

/**
 * Takes a key in that comes wrapped: the wrapping key is made as an object of this session alone.
 * Errors as above.
 */
export function importKey(
  module: NativeModule,
  session: Handle,
  request: ImportRequest,
  [wrappingKey, wrapped]: readonly Buffer[],
): FoundObject[] {
  if (wrappingKey === undefined || wrapped === undefined) throw new Error('nothing to import');
  const wrapping = module.C_CreateObject(session, [
    ...unwrappingKey,
    { type: attributes.value, value: wrappingKey },
  ]);
  try {
    const mechanism = { mechanism: request.mechanism };
    module.C_UnwrapKey(session, mechanism, wrapping, wrapped, nativeTemplate(request.template));
  } finally {
    module.C_DestroyObject(session, wrapping);
  }
  try {
    if (!request.isSecret) {
      module.C_CreateObject(session, nativeTemplate(request.publicTemplate));
    }
  } catch (error) {
    removeKey(module, session, request.id);
    throw error;
  }
  return checkMade(module, session, request.id, false);
}

/** Looks at a key that was just made; one that is not guarded as it has to be is removed again. */
export function checkMade(
  module: NativeModule,
  session: Handle,
  id: string,
  isMadeHere: boolean,
): FoundObject[] {
  const found = describeKeys(module, session, { id, details: true });
  const key = found.find((one) => one.class !== 'public');
  const exposure = key === undefined ? 'not there' : exposureOf(key, isMadeHere);
  if (exposure === undefined) return found;
  removeKey(module, session, id);
  throw new ExposedKeyError(exposure);
}

/** In what way a key is less guarded than it has to be, or undefined. PKCS #11 v3.1, 4.9. */
function exposureOf(key: FoundObject, isMadeHere: boolean): string | undefined {
  if (key.onToken !== true) return 'gone with its session';
  if (key.isPrivate !== true) return 'usable without a login';
  if (key.sensitive !== true) return 'not sensitive';
  if (key.extractable !== false) return 'extractable';
  // An imported key was outside once: the token says so.
  if (isMadeHere && key.alwaysSensitive !== true) return 'not always sensitive';
  if (isMadeHere && key.neverExtractable !== true) return 'not "never extractable"';
  return undefined;
}

export function removeKey(module: NativeModule, session: Handle, id: string): void {
  for (const { handle } of findKeys(module, session, { id })) {
    module.C_DestroyObject(session, handle);
  }
}
