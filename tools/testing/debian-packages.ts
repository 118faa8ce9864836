import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Programs that the tests put Keyreeve against, by Debian package, and what each is for. */
export const debianPackages = {
  age: 'opens and makes backups for age recipients',
  dbus: "carries the calls of the TPM's resource manager",
  e2fsprogs: 'makes the file system that is frozen under the database',
  fish: 'reads the completion script for it',
  'g++': 'builds what PKCS #11 modules are loaded with',
  gcc: 'builds what PKCS #11 modules are loaded with',
  gnupg: 'opens backups made to a passphrase',
  'gnutls-bin': 'second reader of certificates and CRLs',
  haproxy: 'stands in front of several nodes',
  'libnginx-mod-stream': 'lets nginx pass TLS through to several nodes',
  'libtpm2-pkcs11-1': 'makes a TPM a PKCS #11 token',
  'libtpm2-pkcs11-tools': 'makes a token in a TPM',
  'libtss2-tcti-tabrmd0': 'the way to the resource manager of a TPM',
  make: 'builds what PKCS #11 modules are loaded with',
  mount: 'mounts the small disk that fills up',
  nginx: 'serves with certificates and refuses revoked clients',
  opensc: 'looks at keys in tokens as a stranger (pkcs11-tool)',
  openssl: 'verifies signatures and certificates, makes keys to import',
  postgresql: 'the database of an installation with several nodes',
  procps: 'looks at the memory of running processes',
  python3: 'second readers of our formats',
  'python3-aiosmtpd': 'a mail server that takes alerts',
  'python3-cryptography': 'second implementation of the algorithms',
  rsyslog: 'a syslog server that takes alerts',
  'rsyslog-gnutls': 'its TLS',
  softhsm2: 'an HSM in software',
  strace: 'shows that the flush comes before the answer',
  swtpm: 'a TPM 2.0 in software',
  'swtpm-tools': 'a TPM 2.0 in software',
  systemd: 'checks the unit of the service',
  'tpm2-abrmd': 'shares a TPM between callers: its memory holds few keys',
  'tpm2-tools': 'asks a TPM whether it is there',
  'util-linux': 'freezes a file system, runs as another user',
  zsh: 'reads the completion script for it',
} as const;

type Say = (line: string) => void;

/**
 * Installs the packages that are missing, where that is ours to do: as root on Debian, and unless
 * KEYREEVE_TEST_NO_APT is set. Elsewhere the tests that miss a program skip by name. Says first
 * what it is about to install. Never throws: what is still missing shows in the tests.
 */
export function installDebianPackages(say: Say, env: NodeJS.ProcessEnv = process.env): void {
  if ((env.KEYREEVE_TEST_NO_APT ?? '') !== '') return;
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return;
  const missing = missingPackages(Object.keys(debianPackages), installedPackages());
  if (missing.length === 0) return;
  say('The tests put Keyreeve against other programs. Installing these Debian packages:');
  for (const name of missing) {
    say(`  ${name}: ${debianPackages[name as keyof typeof debianPackages]}`);
  }
  say(
    '(set KEYREEVE_TEST_NO_APT=1 to leave the system as it is and skip the tests that need them)',
  );
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...missing];
  for (const parameters of [['update', '-qq'], install]) {
    const status = runApt(parameters);
    if (status !== 0) say(`warning: apt-get ${parameters[0]} ended with ${status}`);
  }
}

/** Those wanted that are not installed, in the order wanted. */
export function missingPackages(wanted: readonly string[], installed: Set<string>): string[] {
  return wanted.filter((name) => !installed.has(name));
}

function installedPackages(): Set<string> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: this is dpkg's own format
  const format = '${Package} ${db:Status-Status}\n';
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f', format], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const lines = (stdout ?? '').split('\n').map((line) => line.split(' '));
  return new Set(lines.filter(([, status]) => status === 'installed').map(([name]) => name ?? ''));
}

function runApt(parameters: readonly string[]): number | null {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', parameters, { stdio: ['ignore', 2, 2], env }).status;
}
