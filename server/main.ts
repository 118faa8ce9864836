import { enableCompileCache } from 'node:module';
import { compileCacheFolder } from '../bin/runtime.mjs';
import type { Service } from './service.ts';

/** Where the command looks for the service unless it is told. */
const defaultUrl = 'https://127.0.0.1:8443';
const sameRequestMilliseconds = 1000;

/**
 * The service as a process: reads the configuration, starts, says where it listens, and stops when
 * asked to. Read `service.ts` next: it wires the parts together. This file imports nothing of them
 * before compiled modules are cached, which halves the time to ready.
 */
export async function serve(environment: NodeJS.ProcessEnv = process.env): Promise<void> {
  process.umask(0o077);
  process.report.excludeEnv = true;
  const [{ startService }, { loadConfig }, { pino }, { renderStartError }] = await Promise.all([
    import('./service.ts'),
    import('./config/config.ts'),
    import('pino'),
    import('./start-error.ts'),
  ]);
  try {
    const config = loadConfig(environment);
    const log = pino({ level: config.logLevel, base: null }, pino.destination(2));
    const service = await startService({ config, log, progress: say });
    // Whoever reads that it is ready may ask it to stop the next instant.
    stopOnSignal(service);
    say(readyLines(service).join('\n'));
  } catch (error) {
    process.stderr.write(renderStartError(error));
    process.exitCode = 1;
  }
}

/** Said in one piece: who reads the first of them has the others too. */
function readyLines({ url, httpUrl, firstLoginCode }: Service): string[] {
  const lines = [`ready ${url}`];
  if (httpUrl !== undefined) lines.push(`public files ${httpUrl}`);
  if (firstLoginCode !== undefined) {
    lines.push(`first login: npx --no-install keyreeve login --code ${firstLoginCode}`);
    if (url !== defaultUrl) lines.push(`before it: export KEYREEVE_URL=${url}`);
  }
  return lines;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function stopOnSignal(service: { stop(): Promise<void> }): void {
  let stoppingSince: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stoppingSince !== undefined) {
        // Asked again, it goes at once: what was answered is on disk. A Ctrl-C that comes both from
        // the terminal and through a parent is one request.
        if (performance.now() - stoppingSince > sameRequestMilliseconds) process.exit(1);
        return;
      }
      stoppingSince = performance.now();
      say('stopping');
      service.stop().then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`error: ${error instanceof Error ? error.message : 'unknown'}\n`);
          process.exit(1);
        },
      );
    });
  }
}

if (import.meta.main) {
  const folder = compileCacheFolder();
  if (folder !== undefined) enableCompileCache(folder);
  await serve();
}
