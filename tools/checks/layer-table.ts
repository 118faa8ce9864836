/**
 * The layers of the house, lowest first. A folder imports from its own layer and from those below
 * it, never from above, and within a layer folders do not import each other in a circle. This
 * table is the one place to change when a folder is added.
 */
export const layers: readonly (readonly string[])[] = [
  // bin holds what has to run before the pinned Node is found: plain JavaScript.
  ['api', 'bin'],
  ['server/base'],
  ['server/der'],
  ['server/config', 'server/crypto'],
  // X.509 structures: bytes and rules of the standards, no storage.
  ['server/x509'],
  ['server/audit', 'server/keystores', 'server/storage'],
  // How any act is authorised, recorded and committed; what is acted on lies above it.
  ['server/commands'],
  ['server/keys'],
  [
    'server/access',
    'server/alerts',
    'server/approvals',
    'server/codesign',
    'server/devices',
    'server/directory',
    'server/documents',
    'server/hardware',
    'server/inspection',
    'server/nodes',
    'server/people',
    'server/pki',
    'server/recovery',
    'server/schedule',
  ],
  ['server/http', 'server/protocols'],
  // The files of server/ itself: main.ts, where the parts are wired together.
  ['server'],
];

/**
 * Folders outside the layers, and the whole list of folders that each may import from. The command
 * line does some work on the host itself: restore, upgrade, login codes, generated key files,
 * certificate requests, and the check of an exported record.
 */
export const outside: Readonly<Record<string, readonly string[]>> = {
  client: ['api', 'server/base'],
  console: ['api', 'client'],
  cli: [
    'api',
    'client',
    'server',
    'server/access',
    'server/audit',
    'server/base',
    'server/commands',
    'server/config',
    'server/crypto',
    'server/keys',
    'server/keystores',
    'server/recovery',
    'server/storage',
    'server/x509',
  ],
};

/** Folders that may import anything, and that only tests and they themselves import from. */
export const unbound: readonly string[] = ['bench', 'bin', 'deploy', 'test', 'tools'];

/**
 * Folders of many small public files: any of them may be imported from outside. The client library
 * is one, so that a command loads only the part that it needs.
 */
export const openFolders: readonly string[] = [
  'api',
  'api/routes',
  'bin',
  'client',
  'server',
  'server/base',
  'server/protocols',
];

/**
 * Public files beside the one named after its folder: an interface or a table that many folders
 * share and that would make the named file too long.
 */
export const furtherEntries: readonly string[] = [
  'server/keystores/keystore.ts',
  'server/storage/schema.ts',
];
