import { type Action, actions } from '../../api/actions.ts';

/**
 * What the access rules speak about, in Cedar's schema language. Keys and folders lie in all the
 * folders above them, up to `Folder::""`, the top. Keys have no name here: rules go by folder,
 * label (`"environment=production"`), purpose and owner, never by a pattern over names.
 */
export const cedarSchema = [
  'entity Role;',
  'entity Principal in [Role];',
  'entity Folder in [Folder];',
  'entity Key in [Folder] = { purpose: String, owner: Principal, labels: Set<String> };',
  'entity Token = { principal: Principal };',
  'entity System;',
  ...actions.map(
    (action) =>
      `action "${action}" appliesTo { principal: Principal, resource: [${resourceTypes(action)}] };`,
  ),
].join('\n');

/**
 * Actions on keys are asked of a folder, too: to list, and where a key is not there. Those of
 * authorities and certificates are asked of the key of the CA, and of the system where the
 * certificate is of none that is here.
 */
function resourceTypes(action: Action): string {
  if (action.startsWith('key.')) return 'Key, Folder';
  if (isAboutAuthorities(action)) return 'Key, Folder, System';
  if (action.startsWith('principal.')) return 'Principal, System';
  if (action.startsWith('token.')) return 'Token, System';
  if (action === 'approval.decide' || action === 'approval.withdraw') return 'Principal, System';
  return 'System';
}

/** Whether the action is one on a certificate authority or on what it issued. */
export function isAboutAuthorities(action: Action): boolean {
  return /^(ca|certificate|crl)\./.test(action);
}
