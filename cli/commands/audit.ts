import type { Command } from 'commander';
import { act, type RunState } from '../act.ts';
import { gather } from '../arguments.ts';
import { fetchCheckpoint } from '../audit/checkpoint.ts';
import { exportRecord } from '../audit/export.ts';
import { retainFields } from '../audit/retain.ts';
import { listEntries, showEntry } from '../audit/search.ts';
import { verifyRecord } from '../audit/verify.ts';

export function addAuditCommands(program: Command, state: RunState): void {
  const audit = program.command('audit').description('the record: who did what, and proof of it');
  audit
    .command('list')
    .description('search the record, newest first')
    .option('--key <name>', 'about this key')
    .option('--principal <principal>', 'by this principal')
    .option('--action <action>', 'such as key.sign')
    .option('--outcome <outcome>', 'ok, or an error code')
    .option('--correlation-id <id>', 'of this request')
    .option('--since <time>', 'a time, or 2h for two hours ago')
    .option('--until <time>', 'a time, or 1h for an hour ago')
    .option('--limit <count>', 'at most this many', '50')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listEntries));
  audit
    .command('show')
    .description('one entry, with the proof that it is in the record')
    .argument('<place>')
    .action(act(state, showEntry));
  audit
    .command('checkpoint')
    .description('fetch the newest signed checkpoint, to keep it elsewhere; needs no token')
    .requiredOption('--out <file>', 'where to, or - for standard output')
    .option('--log-key-out <file>', 'where the public key of the log goes')
    .action(act(state, fetchCheckpoint));
  audit
    .command('export')
    .description('write the whole record into an empty folder')
    .argument('<folder>')
    .option('--redact <fields>', 'keep these back, such as address,agent; several times', gather)
    .action(act(state, exportRecord));
  audit
    .command('verify')
    .description('verify an export, offline; or without a folder the record of the service')
    .argument('[folder]')
    .option('--checkpoint <file>', 'a checkpoint that you kept; else the one remembered here')
    .option('--log-key <key>', 'the public key of the log: its line, or a file with it')
    .option('--trust-new-log', 'remember the log of a restored service from now on')
    .action(act(state, verifyRecord));
  audit
    .command('retain')
    .description('move the fields of old entries to the archive folder; their leaves stay')
    .requiredOption('--before <time>', 'of entries older than this: a time, or 365d')
    .action(act(state, retainFields));
}
