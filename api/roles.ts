import { type Action, actions } from './actions.ts';

/** What a role permits; several grants of a role add up. */
export interface RoleGrant {
  readonly actions: readonly Action[];
  /** Only for keys in these folders and below; anywhere where left out. */
  readonly folders?: readonly string[];
  /** Not for keys in these folders and below. */
  readonly exceptFolders?: readonly string[];
  /** Only for keys whose owner is the caller. */
  readonly ownKeys?: true;
}

export interface RoleDefinition {
  readonly title: string;
  /** What the role is for, one sentence. */
  readonly what: string;
  readonly grants: readonly RoleGrant[];
  /** Roles to which a token of this role may be narrowed: their grants are among its own. */
  readonly includes: readonly string[];
  /** Roles that nobody may hold together with this one: both sides name each other. */
  readonly conflictsWith: readonly string[];
}

/** Keys of the service itself: nobody's to use, whatever the rules say. */
export const systemFolder = 'system';

/** Folders whose keys have owners by the table below: the general roles stay out of them. */
export const ownedFolders = ['ca', 'code-signing', 'connectors'] as const;

const keyUse = [
  'key.show',
  'key.sign',
  'key.verify',
  'key.encrypt',
  'key.decrypt',
  'key.re-encrypt',
  'key.data-key',
  'key.mac',
  'key.verify-mac',
  'key.wrap',
  'key.unwrap',
  'key.agree',
  'key.encapsulate',
  'key.decapsulate',
] as const satisfies readonly Action[];

const keyChange = ['key.update', 'key.state', 'key.destroy', 'key.cancel-destroy'] as const;

const authorityChange = [
  'ca.create',
  'ca.import',
  'ca.update',
  'ca.rekey',
  'ca.renew',
  'ca.certify',
] as const satisfies readonly Action[];

const certificateReading = [
  'ca.show',
  'certificate.show',
  'certificate.export',
  'profile.show',
] as const satisfies readonly Action[];

const signing = ['key.show', 'key.sign', 'key.verify', 'key.rotate'] as const;

/**
 * Every role there is. Those of the code-signing document carry its separation of duties: who owns
 * and retires signing keys does not sign with them, who approves does not act, who audits does
 * nothing else. The default access rules are written from this table.
 */
export const roles = {
  administrator: {
    title: 'Administrator',
    what: 'Platform Admin: runs the installation, its people, roles and rules, and any key.',
    grants: [{ actions }],
    includes: ['key-maker', 'key-user', 'registration-officer', 'operator'],
    // Break-glass needs the Security Reviewer and the Platform Admin: never one person.
    conflictsWith: [
      'security-reviewer',
      'packaging-engineer',
      'linux-packaging-owner',
      'connector-team-lead',
      'change-advisory-board',
      'auditor',
    ],
  },
  'security-reviewer': {
    title: 'Security Reviewer',
    what: 'Owns root and intermediate CAs and oversees all other keys: makes, rotates, suspends, retires.',
    grants: [
      {
        actions: ['key.create', 'key.import', 'key.adopt', 'key.show', 'key.rotate', ...keyChange],
      },
      { actions: [...authorityChange, ...certificateReading, 'profile.apply', 'crl.publish'] },
      { actions: ['certificate.revoke', 'certificate.purge', 'certificate.block-key'] },
      { actions: ['audit.read', 'audit.verify', 'principal.show', 'token.show', 'access.show'] },
      { actions: ['approval.show'] },
      { actions: ['keystore.show', 'keystore.update', 'keystore.review', 'status.show'] },
    ],
    includes: [],
    conflictsWith: [
      'administrator',
      'packaging-engineer',
      'linux-packaging-owner',
      'connector-team-lead',
      'change-advisory-board',
      'auditor',
      'key-user',
      'registration-officer',
    ],
  },
  'packaging-engineer': {
    title: 'Packaging Engineer',
    what: 'Signs Windows and macOS artifacts and triggers the rotation of their keys.',
    grants: [
      { actions: signing, folders: ['code-signing/windows', 'code-signing/macos'] },
      { actions: ['status.show'] },
    ],
    includes: [],
    conflictsWith: [
      'administrator',
      'security-reviewer',
      'change-advisory-board',
      'auditor',
      'key-maker',
    ],
  },
  'linux-packaging-owner': {
    title: 'Linux packaging owner',
    what: 'Signs APT repositories and rotates their keys.',
    grants: [{ actions: signing, folders: ['code-signing/apt'] }, { actions: ['status.show'] }],
    includes: [],
    conflictsWith: [
      'administrator',
      'security-reviewer',
      'change-advisory-board',
      'auditor',
      'key-maker',
    ],
  },
  'connector-team-lead': {
    title: 'Connector team lead',
    what: 'Keeps the credentials of connectors (Intune, Jamf, SCCM): stores, uses and rotates them.',
    grants: [
      {
        actions: [...keyUse, 'key.create', 'key.import', 'key.rotate'],
        folders: ['connectors'],
      },
      { actions: ['status.show'] },
    ],
    includes: [],
    conflictsWith: ['administrator', 'security-reviewer', 'auditor'],
  },
  'change-advisory-board': {
    title: 'Change Advisory Board',
    what: 'Approves production re-signing after a revocation; acts on no key itself.',
    grants: [{ actions: ['key.show'] }, { actions: ['audit.read', 'access.show', 'status.show'] }],
    includes: [],
    conflictsWith: [
      'administrator',
      'security-reviewer',
      'packaging-engineer',
      'linux-packaging-owner',
      'auditor',
    ],
  },
  auditor: {
    title: 'Auditor',
    what: 'Reads and checks everything that happened, and changes nothing.',
    grants: [
      { actions: ['key.show', ...certificateReading] },
      { actions: ['audit.read', 'audit.export', 'audit.verify'] },
      { actions: ['principal.show', 'token.show', 'access.show', 'approval.show'] },
      { actions: ['keystore.show', 'alert.show', 'status.show'] },
    ],
    includes: [],
    conflictsWith: [
      'administrator',
      'security-reviewer',
      'packaging-engineer',
      'linux-packaging-owner',
      'connector-team-lead',
      'change-advisory-board',
      'key-maker',
      'key-user',
      'registration-officer',
      'operator',
    ],
  },
  'key-maker': {
    title: 'Key maker',
    what: 'KEY_MAKER: makes, imports and rotates application keys, and manages those it owns.',
    grants: [
      {
        actions: ['key.create', 'key.import', 'key.show', 'key.rotate'],
        exceptFolders: ownedFolders,
      },
      { actions: keyChange, exceptFolders: ownedFolders, ownKeys: true },
    ],
    includes: [],
    conflictsWith: ['packaging-engineer', 'linux-packaging-owner', 'auditor'],
  },
  'key-user': {
    title: 'Key user',
    what: 'Uses application keys: signs, verifies, encrypts, decrypts.',
    grants: [{ actions: keyUse, exceptFolders: ownedFolders }, { actions: ['random.make'] }],
    includes: [],
    conflictsWith: ['security-reviewer', 'auditor'],
  },
  'registration-officer': {
    title: 'Registration officer',
    what: 'Issues and revokes certificates by the CAs that there are, in whatever folder; makes none.',
    grants: [
      { actions: ['certificate.issue', ...certificateReading] },
      { actions: ['certificate.revoke', 'crl.publish'] },
    ],
    includes: [],
    // Who owns CAs does not issue from them.
    conflictsWith: ['security-reviewer', 'auditor'],
  },
  operator: {
    title: 'Operator',
    what: 'Keeps the service running: backups, health, the archive of the record.',
    grants: [
      { actions: ['backup.create', 'audit.verify', 'audit.retain'] },
      { actions: ['keystore.show', 'alert.show', 'alert.test', 'status.show'] },
    ],
    includes: [],
    conflictsWith: ['auditor'],
  },
} as const satisfies Record<string, RoleDefinition>;

export type RoleName = keyof typeof roles;
export const roleNames = Object.keys(roles) as readonly RoleName[];

/** What every active principal may do with what is its own, whatever its roles. */
export const ownActions = {
  token: ['token.create', 'token.show', 'token.revoke'],
  principal: ['principal.show', 'approval.decide', 'approval.withdraw'],
} as const satisfies Record<string, readonly Action[]>;

export function isRoleName(name: string): name is RoleName {
  return Object.hasOwn(roles, name);
}

/** The first pair of roles that nobody may hold together, or undefined. */
export function conflictingRoles(
  names: readonly string[],
): readonly [RoleName, RoleName] | undefined {
  const known = names.filter(isRoleName);
  for (const [index, first] of known.entries()) {
    const conflicts: readonly string[] = roles[first].conflictsWith;
    const second = known.slice(index + 1).find((name) => conflicts.includes(name));
    if (second !== undefined) return [first, second];
  }
  return undefined;
}

/** These roles and those to which they can be narrowed. */
export function withIncludedRoles(names: readonly string[]): ReadonlySet<string> {
  const all = new Set<string>();
  const waiting = [...names];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (all.has(name)) continue;
    all.add(name);
    if (isRoleName(name)) waiting.push(...roles[name].includes);
  }
  return all;
}

/** A row of the table of ownership: whose keys lie in a folder, and what the owner answers for. */
export interface Ownership {
  readonly keyType: string;
  readonly folder: string;
  readonly owner: RoleName;
  /** Who else is heard or watches. */
  readonly oversight: readonly RoleName[];
  readonly rotateEveryDays: number;
  readonly responsibilities: readonly string[];
}

/** Key ownership and accountability, after the code-signing document, section 3 (days: section 2). */
export const keyOwnership: readonly Ownership[] = [
  {
    keyType: 'Root and intermediate CA',
    folder: 'ca',
    owner: 'security-reviewer',
    oversight: [],
    rotateEveryDays: 90,
    responsibilities: ['rotate keys', 'manage HSM access', 'document break-glass events'],
  },
  {
    keyType: 'Windows Authenticode',
    folder: 'code-signing/windows',
    owner: 'packaging-engineer',
    oversight: ['security-reviewer'],
    rotateEveryDays: 90,
    responsibilities: ['sign artifacts', 'record evidence', 'trigger the rotation pipeline'],
  },
  {
    keyType: 'macOS Developer ID',
    folder: 'code-signing/macos',
    owner: 'packaging-engineer',
    oversight: ['security-reviewer'],
    rotateEveryDays: 90,
    responsibilities: ['sign and notarize', 'have notarization metadata recorded'],
  },
  {
    keyType: 'APT GPG keys',
    folder: 'code-signing/apt',
    owner: 'linux-packaging-owner',
    oversight: [],
    rotateEveryDays: 90,
    responsibilities: ['sign the repository', 'rotate', 'coordinate offline mirrors'],
  },
  {
    keyType: 'Connector certificates (Intune, Jamf, SCCM)',
    folder: 'connectors',
    owner: 'connector-team-lead',
    oversight: [],
    rotateEveryDays: 60,
    responsibilities: ['store credentials in the vault', 'rotate by automation'],
  },
];

/** Break-glass rotation takes one holder of each of these roles (section 3). */
export const breakGlassRoles = ['security-reviewer', 'administrator'] as const;
