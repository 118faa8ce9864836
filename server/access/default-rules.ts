import { type Action, actions } from '../../api/actions.ts';
import {
  ownActions,
  type RoleDefinition,
  type RoleGrant,
  roleNames,
  roles,
  systemFolder,
} from '../../api/roles.ts';
import { isAboutAuthorities } from './cedar-schema.ts';

const looks: readonly Action[] = ['key.show', 'ca.show', 'certificate.show', 'certificate.export'];

/** What nobody may do with the keys of the service itself: everything but look. */
export function isRefusedOnSystemKeys(action: Action): boolean {
  return (action.startsWith('key.') || isAboutAuthorities(action)) && !looks.includes(action);
}

/** The access rules in force until others are applied: the table of roles, written out in Cedar. */
export const defaultRules: string = [
  header(),
  ...roleNames.map((name) => roleRules(name, roles[name])),
  ownRules(),
  systemRule(),
].join('\n');

function header(): string {
  return [
    '// The default access rules: version 0. What no rule permits is refused; a forbid beats every',
    '// permit. Change a copy of this text and put it in force with: keyreeve access apply DIR',
    '',
  ].join('\n');
}

function roleRules(name: string, role: RoleDefinition): string {
  const rules = role.grants.map((grant) => grantRule(name, grant));
  return `// ${role.title}. ${role.what}\n${rules.join('')}`;
}

function grantRule(role: string, grant: RoleGrant): string {
  const lines = [
    'permit (',
    `  principal in Role::"${role}",`,
    `  ${actionScope(grant.actions)},`,
    grant.ownKeys ? '  resource is Key' : '  resource',
    ')',
  ];
  if (grant.folders !== undefined) lines.push(`when { ${inFolders(grant.folders)} }`);
  if (grant.exceptFolders !== undefined) lines.push(`unless { ${inFolders(grant.exceptFolders)} }`);
  if (grant.ownKeys) lines.push('when { resource.owner == principal }');
  return `${lines.join('\n')};\n`;
}

function actionScope(list: readonly Action[]): string {
  if (list === actions) return 'action';
  const names = list.map((action) => `    Action::"${action}"`);
  return `action in [\n${names.join(',\n')}\n  ]`;
}

function inFolders(folders: readonly string[]): string {
  return folders.map((folder) => `resource in Folder::"${folder}"`).join(' || ');
}

function ownRules(): string {
  return [
    '// Everybody sees itself, and makes, sees and revokes tokens of its own.',
    `permit (\n  principal,\n  ${actionScope(ownActions.principal)},\n  resource is Principal\n)`,
    'when { resource == principal };',
    `permit (\n  principal,\n  ${actionScope(ownActions.token)},\n  resource is Token\n)`,
    'when { resource.principal == principal };',
    '',
  ].join('\n');
}

function systemRule(): string {
  const refused = actions.filter(isRefusedOnSystemKeys);
  return [
    '// The keys of the service itself. They stay refused without this rule, too.',
    `forbid (\n  principal,\n  ${actionScope(refused)},\n  resource in Folder::"${systemFolder}"\n);`,
    '',
  ].join('\n');
}
