import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { requireProgram } from './tools.ts';

/** A real nginx in a folder of its own. */
export interface TestNginx {
  readonly port: number;
  /** Reads its configuration and files again, as `nginx -s reload` does; waits until it has. */
  reload(): Promise<void>;
  /** What it wrote to its error log. */
  log(): string;
}

/**
 * Starts nginx as an HTTPS server with these directives (`ssl_certificate` and the like), which
 * answers every request with `served` and the verified name of the client. Paths are those of the
 * folder. Skipped by name where there is no nginx.
 */
export async function startNginx(
  t: TestContext,
  folder: string,
  directives: readonly string[],
): Promise<TestNginx | undefined> {
  const nginx = requireProgram(t, 'nginx');
  if (nginx === undefined) return undefined;
  const port = await freePort();
  mkdirSync(join(folder, 'nginx'));
  const log = join(folder, 'nginx', 'error.log');
  const configuration = join(folder, 'nginx.conf');
  writeFileSync(
    configuration,
    `worker_processes 1;
     pid ${folder}/nginx/pid;
     error_log ${log} info;
     user root;
     events { worker_connections 64; }
     http {
       access_log off;
       client_body_temp_path ${folder}/nginx/body;
       proxy_temp_path ${folder}/nginx/proxy;
       fastcgi_temp_path ${folder}/nginx/fastcgi;
       uwsgi_temp_path ${folder}/nginx/uwsgi;
       scgi_temp_path ${folder}/nginx/scgi;
       server {
         listen 127.0.0.1:${port} ssl;
         ${directives.map((line) => `${line};`).join('\n')}
         location / { return 200 "served $ssl_client_s_dn\\n"; }
       }
     }`,
  );
  const server = spawn(nginx, ['-p', folder, '-c', configuration, '-g', 'daemon off;'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let printed = '';
  server.stderr.on('data', (bytes: Buffer) => {
    printed += bytes.toString('utf8');
  });
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  t.after(() => {
    server.kill('SIGTERM');
    return exited;
  });
  await eventually(() => {
    if (server.exitCode !== null) throw new Error(`nginx ended: ${printed}`);
    return accepts(port);
  });
  const logText = () => readFileSync(log, 'utf8');
  return {
    port,
    log: logText,
    reload: () => reload(server, logText),
  };
}

/** The old workers are told to leave once the new ones run. */
async function reload(server: ChildProcess, log: () => string): Promise<void> {
  const reloads = () => log().split('gracefully shutting down').length;
  const before = reloads();
  server.kill('SIGHUP');
  await eventually(() => reloads() > before, { message: 'nginx did not reload' });
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
