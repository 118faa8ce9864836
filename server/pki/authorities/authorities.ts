/**
 * The certificate authorities: found, shown, made, re-keyed and renewed, and the profiles they issue
 * by. The rest of the folder is private.
 */
export { certifying } from './authority-command.ts';
export { Authorities, type AuthoritiesOptions } from './authority-ring.ts';
export { versionScheme } from './authority-rules.ts';
export { crossProfileName } from './chains.ts';
export { destructionGuards } from './destruction-guards.ts';
export { createAuthorityHandlers } from './handlers.ts';
export { type NewAuthority, newAuthoritySteps, refuseSameSubject } from './new-authority.ts';
export { checkSettings } from './settings.ts';
export type { SignedCertificate, Signing } from './signing.ts';
