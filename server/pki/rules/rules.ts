/**
 * The rules by which certificates are planned, checked and linted: pure functions, without
 * database, clock or keys. The rest of the folder is private.
 */
export { lintCertificate } from './lint.ts';
export { type Certified, checkNames } from './name-constraints.ts';
export { planCertificate } from './plan.ts';
export type {
  Addresses,
  IssuerFacts,
  PlanContext,
  SelfIssuer,
  Wanted,
} from './plan-types.ts';
export { checkPublicKey, type KeyFacts, publicKeyFacts } from './public-key.ts';
export { newSerial } from './serial.ts';
