import type { Command } from 'commander';
import { act, type RunState } from '../act.ts';
import { getCrl, publishCrl } from '../authorities/crl.ts';

export function addCrlCommands(program: Command, state: RunState): void {
  const crl = program.command('crl').description('lists of revoked certificates');
  crl
    .command('get')
    .description('write the newest CRL of a CA, all in it that is revoked by now; needs no token')
    .requiredOption(
      '--ca <name[@version]>',
      'of this CA; of its current key, if no version is named',
    )
    .requiredOption('--out <file>', 'where to, or - for standard output')
    .option('--der', 'DER, not PEM')
    .option('--no-wait', 'the one that is published, even if something was revoked since')
    .action(act(state, getCrl));
  crl
    .command('publish')
    .description('sign and publish a new CRL now')
    .requiredOption(
      '--ca <name[@version]>',
      'of this CA; of its current key, if no version is named',
    )
    .action(act(state, publishCrl));
}
