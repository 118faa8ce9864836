/**
 * Distinguished Encoding Rules (X.690): the one codec for keys and for everything of X.509. What
 * comes from outside goes through `DerReader.over`, which holds every byte to DER before anything
 * is read; what goes out is written by `DerWriter`. The rest of the folder is private.
 */
export { DerError, type DerReason, derReasons } from './der-error.ts';
export {
  bigintFromBytes,
  bitLength,
  type DerElement,
  derChildren,
  derUnsigned,
  encodeDer,
  encodeDerUnsigned,
  readDer,
  readWholeDer,
} from './elements.ts';
export { encodeObjectIdentifier, objectIdentifierText } from './object-identifier.ts';
export { type DerLimits, DerReader } from './reader.ts';
export { derTags } from './tags.ts';
export { timeRange } from './time.ts';
export { checkDer } from './verify.ts';
export { DerWriter } from './writer.ts';
