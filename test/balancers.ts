import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { fillTemplate } from './template.ts';
import { findProgram, requireProgram, skip, tryRun } from './tools.ts';

/** Where Debian and others put the modules of nginx. */
const streamModules = [
  '/usr/lib/nginx/modules/ngx_stream_module.so',
  '/usr/lib64/nginx/modules/ngx_stream_module.so',
] as const;

export const balancerKinds = ['nginx', 'haproxy'] as const;
export type BalancerKind = (typeof balancerKinds)[number];

/** What stands in front of the nodes, with the file that operators get for it. */
export interface Balancer {
  readonly kind: BalancerKind;
  /** `https://localhost:port`. */
  readonly url: string;
  readonly publicUrl: string;
  /** What it printed. */
  output(): string;
}

export interface BalancedNode {
  readonly port: number;
  readonly publicPort: number;
}

/** Skipped by name where one of the programs is not here: `false`. */
export function haveBalancers(t: TestContext): boolean {
  if (requireProgram(t, 'nginx') === undefined) return false;
  if (requireProgram(t, 'haproxy') === undefined) return false;
  if (streamModule() !== undefined) return true;
  skip(t, 'the stream module of nginx is not here');
  return false;
}

/** Starts nginx or haproxy in a folder of its own; it ends with the test. */
export async function startBalancer(
  t: TestContext,
  kind: BalancerKind,
  folder: string,
  nodes: readonly BalancedNode[],
  caFile: string,
): Promise<Balancer> {
  mkdirSync(folder);
  const [port, publicPort] = [await freePort(), await freePort()];
  const values = {
    LISTEN: `127.0.0.1:${port}`,
    LISTEN_PUBLIC: `127.0.0.1:${publicPort}`,
    RUN: folder,
    ...Object.fromEntries(
      nodes.flatMap((node, index) => [
        [`NODE_${index + 1}`, `127.0.0.1:${node.port}`],
        [`NODE_${index + 1}_PUBLIC`, `127.0.0.1:${node.publicPort}`],
      ]),
    ),
  };
  const { path, command } =
    kind === 'nginx' ? nginx(folder, values) : haproxy(folder, values, caFile);
  const child = spawn(path, command, { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      printed += bytes.toString('utf8');
    });
  }
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  t.after(() => {
    child.kill('SIGTERM');
    return exited;
  });
  await eventually(() => {
    if (child.exitCode !== null) throw new Error(`${kind} ended: ${printed}`);
    return accepts(port);
  });
  const url = `https://localhost:${port}`;
  return { kind, url, publicUrl: `http://localhost:${publicPort}`, output: () => printed };
}

function nginx(folder: string, values: Readonly<Record<string, string>>) {
  const module = streamModule()!;
  mkdirSync(join(folder, 'modules'));
  const load = join(folder, 'modules', 'stream.conf');
  writeFileSync(load, `load_module ${module};\n`);
  const log = join(folder, 'error.log');
  const text = fillTemplate('nginx.conf', { ...values, MODULES: load, LOG: log });
  const configuration = join(folder, 'nginx.conf');
  writeFileSync(configuration, text);
  const command = ['-p', folder, '-c', configuration, '-e', log, '-g', 'daemon off;'];
  return { path: findProgram('nginx')!, command };
}

function haproxy(folder: string, values: Readonly<Record<string, string>>, caFile: string) {
  const text = fillTemplate('haproxy.cfg', { ...values, CA: caFile, NAME: 'localhost' });
  const configuration = join(folder, 'haproxy.cfg');
  writeFileSync(configuration, text);
  // In the foreground, and all that it says on its error output.
  return { path: findProgram('haproxy')!, command: ['-db', '-f', configuration] };
}

function streamModule(): string | undefined {
  return streamModules.find((path) => tryRun('test', ['-r', path]).status === 0);
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
