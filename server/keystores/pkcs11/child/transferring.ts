import { attributes, keyTypes, mechanisms, objectClasses } from '../constants.ts';
import type {
  FoundObject,
  TransferInRequest,
  TransferKey,
  TransferKeyRequest,
  TransferOutRequest,
} from '../protocol.ts';
import type { Handle, NativeModule } from './addon.ts';
import { checkMade, removeKey, unwrappingKey } from './making.ts';
import { findHandles, findOne, nativeTemplate } from './objects.ts';

const wrappingKeyBytes = 32;
const publicExponent = Buffer.from('010001', 'hex');
/** Longer than what any key of the product becomes when it is wrapped. */
const wrappedBytesMaximum = 16 * 1024;

/** Makes the RSA key under which one key comes into this token: gone with its session. */
export function makeTransferKey(
  module: NativeModule,
  session: Handle,
  request: TransferKeyRequest,
): TransferKey {
  const id = { type: attributes.id, value: Buffer.from(request.id, 'hex') };
  const { publicKey } = module.C_GenerateKeyPair(
    session,
    { mechanism: mechanisms.rsaKeyPair },
    [
      { type: attributes.token, value: false },
      { type: attributes.wrap, value: true },
      { type: attributes.modulusBits, value: request.modulusBits },
      { type: attributes.publicExponent, value: publicExponent },
      id,
    ],
    [
      { type: attributes.token, value: false },
      { type: attributes.private, value: true },
      { type: attributes.sensitive, value: true },
      { type: attributes.extractable, value: false },
      { type: attributes.unwrap, value: true },
      id,
    ],
  );
  const numbers = module.C_GetAttributeValue(session, publicKey, [
    { type: attributes.modulus },
    { type: attributes.publicExponent },
  ]);
  const hex = (index: number) => numbers[index]?.value.toString('hex') ?? '';
  return { modulus: hex(0), publicExponent: hex(1) };
}

/**
 * Makes a key that may leave, wraps it for another token, and closes it: from then on it cannot be
 * taken out any more (PKCS #11 v3.1, 4.9: CKA_EXTRACTABLE goes from true to false alone). Items:
 * the AES key under the RSA key, the key under the AES key. Where that fails nothing stays.
 */
export function makeAndWrap(
  module: NativeModule,
  session: Handle,
  request: TransferOutRequest,
): { found: FoundObject[]; items: Buffer[] } {
  const temporary: Handle[] = [];
  try {
    const key = make(module, session, request);
    const transfer = module.C_CreateObject(session, [
      { type: attributes.class, value: objectClasses.public },
      { type: attributes.keyType, value: keyTypes.rsa },
      { type: attributes.token, value: false },
      { type: attributes.wrap, value: true },
      { type: attributes.modulus, value: Buffer.from(request.transfer.modulus, 'hex') },
      {
        type: attributes.publicExponent,
        value: Buffer.from(request.transfer.publicExponent, 'hex'),
      },
    ]);
    temporary.push(transfer);
    const wrapping = module.C_GenerateKey(session, { mechanism: mechanisms.aesKey }, [
      { type: attributes.token, value: false },
      { type: attributes.private, value: true },
      { type: attributes.sensitive, value: true },
      { type: attributes.extractable, value: true },
      { type: attributes.wrap, value: true },
      { type: attributes.valueLength, value: wrappingKeyBytes },
    ]);
    temporary.push(wrapping);
    const wrap = (mechanism: TransferOutRequest['wrapRsa'], under: Handle, what: Handle) =>
      module.C_WrapKey(session, mechanism, under, what, Buffer.alloc(wrappedBytesMaximum));
    const items = [
      wrap(request.wrapRsa, transfer, wrapping),
      wrap({ mechanism: request.wrapAes }, wrapping, key),
    ];
    module.C_SetAttributeValue(session, key, [{ type: attributes.extractable, value: false }]);
    return { found: checkMade(module, session, request.id, false), items };
  } catch (error) {
    quietly(() => removeKey(module, session, request.id));
    throw error;
  } finally {
    for (const handle of temporary) quietly(() => module.C_DestroyObject(session, handle));
  }
}

/** Takes a key in that another token has wrapped. The transfer key is gone afterwards. */
export function takeWrapped(
  module: NativeModule,
  session: Handle,
  request: TransferInRequest,
  [wrappedWrapping, wrapped]: readonly Buffer[],
): FoundObject[] {
  if (wrappedWrapping === undefined || wrapped === undefined) throw new Error('nothing to take in');
  const temporary: Handle[] = [];
  try {
    const transfer = findOne(module, session, { class: 'private', id: request.transferId });
    const wrapping = module.C_UnwrapKey(session, request.unwrapRsa, transfer, wrappedWrapping, [
      ...unwrappingKey,
    ]);
    temporary.push(wrapping);
    const mechanism = { mechanism: request.unwrapAes };
    module.C_UnwrapKey(session, mechanism, wrapping, wrapped, nativeTemplate(request.template));
    if (!request.isSecret) module.C_CreateObject(session, nativeTemplate(request.publicTemplate));
    return checkMade(module, session, request.id, false);
  } catch (error) {
    quietly(() => removeKey(module, session, request.id));
    throw error;
  } finally {
    const id = { type: attributes.id, value: Buffer.from(request.transferId, 'hex') };
    quietly(() => temporary.push(...findHandles(module, session, [id])));
    for (const handle of temporary) quietly(() => module.C_DestroyObject(session, handle));
  }
}

function make(module: NativeModule, session: Handle, request: TransferOutRequest): Handle {
  const mechanism = { mechanism: request.mechanism };
  const secret = nativeTemplate(request.privateTemplate);
  if (request.isSecret) return module.C_GenerateKey(session, mechanism, secret);
  const open = nativeTemplate(request.publicTemplate);
  return module.C_GenerateKeyPair(session, mechanism, open, secret).privateKey;
}

/** What cannot be tidied up goes with its session; the first error is the one that counts. */
function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // See above.
  }
}
