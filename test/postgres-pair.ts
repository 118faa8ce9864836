import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePort } from './free-port.ts';
import { findBinaries, type Identity, runMeanwhile, serverIdentity } from './postgres-programs.ts';
import { clusterFile, fillTemplate } from './template.ts';
import { run, skip } from './tools.ts';

const passwords = { keyreeve: 'node-password', replicator: 'standby-password' } as const;
const names = ['db1', 'db2'] as const;

export type ServerName = (typeof names)[number];

/** Two real PostgreSQL servers as `deploy/cluster` has them: a primary and its synchronous standby. */
export interface PostgresPair {
  readonly ports: Readonly<Record<ServerName, number>>;
  /** The CA of the servers' certificates, for `localhost`. */
  readonly caFile: string;
  readonly password: string;
  readonly primary: ServerName;
  /** Ends a server: `fast` as an operator does, `immediate` as a crash does. */
  stop(name: ServerName, mode: 'fast' | 'immediate'): Promise<void>;
  start(name: ServerName): Promise<void>;
  /** Runs promote.sh on the standby. `fence` is a command that must succeed first. */
  promote(fence?: string): Promise<void>;
  /** Runs make-standby.sh for the server that is not the primary, starts it, and waits for it again. */
  rejoin(): Promise<void>;
  /** A command that succeeds while the server does not run. */
  isStopped(name: ServerName): string;
  /** Runs SQL as the superuser. */
  sql(name: ServerName, statement: string, database?: string): Promise<string>;
  synchronous(setting: 'on' | 'off'): Promise<void>;
  /** Data folders that were moved aside because a standby had to be copied anew. */
  copies(): string[];
  /** Stops both and removes their folder. */
  remove(): Promise<void>;
}

/**
 * Makes and starts the pair; the caller removes it. Where PostgreSQL is not installed the test is
 * skipped by name and undefined returned.
 */
export async function startPostgresPair(t: TestContext): Promise<PostgresPair | undefined> {
  const binaries = findBinaries();
  if (binaries === undefined) {
    skip(t, 'PostgreSQL is not here');
    return undefined;
  }
  const pair = new Pair(binaries, { db1: await freePort(), db2: await freePort() });
  try {
    await pair.make();
    return pair;
  } catch (error) {
    await pair.remove();
    throw error;
  }
}

class Pair implements PostgresPair {
  readonly password = passwords.keyreeve;
  readonly ports: Readonly<Record<ServerName, number>>;
  readonly caFile: string;
  primary: ServerName = 'db1';
  readonly #binaries: string;
  readonly #identity: Identity = serverIdentity();
  readonly #folder = mkdtempSync(join(tmpdir(), 'keyreeve-pair-'));

  constructor(binaries: string, ports: Readonly<Record<ServerName, number>>) {
    this.#binaries = binaries;
    this.ports = ports;
    this.caFile = this.#file('ca.pem');
  }

  async make(): Promise<void> {
    this.#own(this.#folder);
    this.#makeCertificates();
    this.#write('pgpass', `*:*:*:replicator:${passwords.replicator}\n`);
    for (const name of names) this.#configure(name);
    const data = this.#data('db1');
    // The superuser has the name of the user of the system, who needs no password on the host.
    const options = ['-D', data, '-A', 'peer', '-E', 'UTF8', '--no-sync'];
    await this.#run('db1', 'initdb', options);
    // Nobody follows yet: the roles would wait for ever.
    await this.start('db1', `-c synchronous_standby_names=''`);
    await this.#run('db1', 'psql', ['-X', '-f', clusterFile('postgresql/roles.sql'), 'postgres'], {
      KEYREEVE_PASSWORD: passwords.keyreeve,
      REPLICATOR_PASSWORD: passwords.replicator,
    });
    await this.stop('db1', 'fast');
    await this.start('db1');
    await this.rejoin();
  }

  async start(name: ServerName, more = ''): Promise<void> {
    const settings = `-c config_file=${this.#file(name, 'postgresql.conf')} ${more}`;
    const log = this.#file(name, 'log');
    const options = ['start', '-s', '-w', '-D', this.#data(name), '-l', log, '-o', settings];
    await this.#run(name, 'pg_ctl', options);
  }

  async stop(name: ServerName, mode: 'fast' | 'immediate'): Promise<void> {
    await this.#run(name, 'pg_ctl', ['stop', '-s', '-w', '-D', this.#data(name), '-m', mode]);
  }

  async promote(fence = this.isStopped(this.primary)): Promise<void> {
    const [old, next] = [this.primary, this.#standby];
    const script = clusterFile('postgresql/promote.sh');
    const parameters = ['localhost', String(this.ports[old])];
    await this.#run(next, script, parameters, { FENCE: fence });
    this.primary = next;
  }

  async rejoin(): Promise<void> {
    const name = this.#standby;
    const primary = `host=localhost port=${this.ports[this.primary]} user=replicator sslmode=verify-full sslrootcert=${this.caFile}`;
    const script = clusterFile('postgresql/make-standby.sh');
    await this.#run(name, script, [primary], { PGCONFIG: this.#file(name, 'postgresql.conf') });
    await this.start(name);
    await this.synchronous('on');
  }

  async synchronous(setting: 'on' | 'off'): Promise<void> {
    await this.#run(this.primary, clusterFile('postgresql/synchronous.sh'), [setting]);
  }

  copies(): string[] {
    return names.flatMap((name) =>
      readdirSync(this.#file(name)).filter((file) => file.startsWith('data.before.')),
    );
  }

  isStopped(name: ServerName): string {
    return `! pg_ctl status -s -D ${this.#data(name)}`;
  }

  async sql(name: ServerName, statement: string, database = 'postgres'): Promise<string> {
    const options = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database];
    return (await this.#run(name, 'psql', [...options, '-c', statement])).trim();
  }

  async remove(): Promise<void> {
    for (const name of names) {
      if (existsSync(join(this.#data(name), 'postmaster.pid'))) {
        await this.stop(name, 'immediate').catch(() => undefined);
      }
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #standby(): ServerName {
    return this.primary === 'db1' ? 'db2' : 'db1';
  }

  /** A CA, and a certificate for `localhost` that both servers show. */
  #makeCertificates(): void {
    const [caKey, key, certificate] = ['ca.key', 'server.key', 'server.crt'].map((name) =>
      this.#file(name),
    ) as [string, string, string];
    const fresh = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    const days = ['-nodes', '-days', '2'];
    run('openssl', [
      ...[...fresh, ...days, '-subj', '/CN=Test databases', '-keyout', caKey],
      ...['-addext', 'keyUsage=critical,keyCertSign', '-out', this.caFile],
    ]);
    run('openssl', [
      ...[...fresh, ...days, '-subj', '/CN=localhost', '-CA', this.caFile, '-CAkey', caKey],
      ...['-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=CA:FALSE'],
      ...['-keyout', key, '-out', certificate],
    ]);
    for (const path of [key, certificate, this.caFile]) this.#own(path);
  }

  #configure(name: ServerName): void {
    mkdirSync(this.#file(name));
    this.#own(this.#file(name));
    const filled = fillTemplate('postgresql/keyreeve.conf', {
      NAME: name,
      ADDRESS: '127.0.0.1',
      PORT: String(this.ports[name]),
      CERTIFICATE: this.#file('server.crt'),
      KEY: this.#file('server.key'),
    });
    this.#write(join(name, 'keyreeve.conf'), filled);
    const loopback = '127.0.0.1/32';
    const access = fillTemplate('postgresql/pg_hba.conf', { NODES: loopback, SERVERS: loopback });
    this.#write(join(name, 'pg_hba.conf'), access);
    const own = `data_directory = '${this.#data(name)}'
      hba_file = '${this.#file(name, 'pg_hba.conf')}'
      unix_socket_directories = '${this.#file(name)}'
      shared_buffers = '32MB'
      max_wal_size = '256MB'
      log_line_prefix = '%m [%p] %a '
      include = 'keyreeve.conf'\n`;
    this.#write(join(name, 'postgresql.conf'), own);
  }

  #run(
    name: ServerName,
    program: string,
    parameters: readonly string[],
    more: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const environment = {
      PGDATA: this.#data(name),
      PGHOST: this.#file(name),
      PGPORT: String(this.ports[name]),
      ...(this.#identity.uid === undefined ? { PGUSER: userInfo().username } : {}),
      PGPASSFILE: this.#file('pgpass'),
      ...more,
    };
    const folder = this.#folder;
    return runMeanwhile(this.#binaries, program, parameters, {
      ...{ identity: this.#identity, folder, environment },
      // A server inherits the output of pg_ctl, and a pipe would stay open as long as it lives.
      isSilent: program === 'pg_ctl',
    });
  }

  #file(...path: string[]): string {
    return join(this.#folder, ...path);
  }

  #data(name: ServerName): string {
    return this.#file(name, 'data');
  }

  #write(path: string, text: string): void {
    writeFileSync(this.#file(path), text, { mode: 0o600 });
    this.#own(this.#file(path));
  }

  #own(path: string): void {
    const { uid, gid } = this.#identity;
    if (uid !== undefined) chownSync(path, uid, gid ?? uid);
  }
}
