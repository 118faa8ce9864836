import { processContext } from './context.ts';
import { runCli } from './run.ts';

// A reader that closes early (`keyreeve key list | head`) ends the command without a complaint.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

process.exitCode = await runCli(process.argv.slice(2), processContext());
