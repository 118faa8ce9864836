import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Cleanup } from '../service.ts';
import { type CertificateDouble, makeCa, makeLeaf } from './https-service.ts';

/** A receiver of alerts in a process of its own, which says on its output what it got. */
export interface ReceiverProcess {
  readonly port: number;
  readonly ca: CertificateDouble;
  /** What it said so far, a JSON value for each line. */
  // biome-ignore lint/suspicious/noExplicitAny: each receiver says something else
  readonly received: any[];
  stop(): void;
}

/** Starts `script` with a server certificate of its own; it prints its port first. */
export async function startReceiver(
  t: Cleanup,
  program: string,
  script: string,
  parameters: readonly string[],
  ca = makeCa(),
): Promise<ReceiverProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-receiver-'));
  const leaf = makeLeaf(ca);
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  writeFileSync(certificate, `${leaf.pem}\n${ca.pem}`);
  writeFileSync(key, leaf.keyPem, { mode: 0o600 });
  const child = spawn(
    program,
    [join(import.meta.dirname, script), certificate, key, ...parameters],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  let errors = '';
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString('utf8');
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  });
  const received: unknown[] = [];
  const port = await new Promise<number>((resolve, reject) => {
    exited.then(() => reject(new Error(`${script} ended: ${errors}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line) as { port?: number };
      if (said.port === undefined) received.push(said);
      else resolve(said.port);
    });
  });
  return { port, ca, received, stop: () => child.kill('SIGKILL') };
}
