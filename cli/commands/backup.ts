import { createHash } from 'node:crypto';
import type { Command } from 'commander';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { SecretBytes } from '../../server/base/secret-bytes.ts';
import type { Config } from '../../server/config/config.ts';
import { act, type RunState, type Tools } from '../act.ts';
import { gather } from '../arguments.ts';
import { readPassphrase, readText, refuseSharedInput, writeOutput } from '../files.ts';
import { startProgress } from '../progress.ts';

export function addBackupCommands(program: Command, state: RunState): void {
  const backup = program.command('backup').description('encrypted backups');
  backup
    .command('create')
    .description('write a backup of the running service; the root key is never in it')
    .argument('<file>', 'where to, or - for standard output')
    .option('--recipient <recipient>', 'an age recipient, age1…; several times', gather)
    .option('--passphrase-file <file>', 'or a passphrase: gpg alone opens the backup then')
    .option('--label <text>', 'what it is for')
    .option('--force', 'replace an existing file')
    .action(act(state, createBackup));
  opening(backup.command('verify'))
    .description('read a backup to its end and check all of it; on this machine')
    .option('--sha256 <hash>', 'the hash that its maker named; enough for one who cannot open it')
    .action(act(state, verifyFile));
  opening(backup.command('restore'))
    .description('restore into an empty data folder, with the root key there; on this machine')
    .option('--revoke-tokens', 'let no token of before work any more')
    .option('--without-alerts', 'leave out who is told of alerts, and what waits for them: a drill')
    .action(act(state, restoreFile));
  program
    .command('upgrade')
    .description('back up, then bring the database to this version; on the host, service stopped')
    .option('--backup <file>', 'where the backup goes; beside the data, if left out')
    .option('--recipient <recipient>', 'an age recipient for the backup; several times', gather)
    .option('--passphrase-file <file>', 'or a passphrase for the backup')
    .action(act(state, upgrade));
}

function opening(command: Command): Command {
  return command
    .argument('<file>')
    .option('--identity <file>', 'a file with the age identity, AGE-SECRET-KEY-1…')
    .option('--passphrase-file <file>', 'a file with the passphrase');
}

interface CreateOptions {
  readonly recipient?: string[];
  readonly passphraseFile?: string;
  readonly label?: string;
  readonly force?: boolean;
}

async function createBackup(tools: Tools, options: CreateOptions, file: string): Promise<void> {
  const { context, output } = tools;
  requireOne(options.recipient, options.passphraseFile, '--recipient');
  const client = tools.client();
  using passphrase = await passphraseOf(tools, options.passphraseFile);
  const stream = await client.stream('backup.create', {
    body: {
      recipients: options.recipient,
      ...(options.label === undefined ? {} : { label: options.label }),
      ...(passphrase === undefined ? {} : { passphrase: passphrase.reveal().toString('utf8') }),
    },
  });
  const bar = startProgress(context, 'backing up');
  const hash = createHash('sha256');
  let bytes = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of stream) {
      bytes += piece.length;
      hash.update(piece);
      bar.onProgress?.(bytes, undefined);
      yield piece;
    }
  }
  try {
    await writeOutput(context, file, counted(), { private: true, force: options.force ?? false });
  } finally {
    bar.end();
  }
  const sha256 = hash.digest('hex');
  if (file !== '-') await checkWritten(file, sha256, passphrase);
  if (file !== '-') output.data({ file, bytes, sha256 });
  output.note(
    `wrote ${bytes} bytes${file === '-' ? '' : ' and read them again'}, sha256 ${sha256}`,
  );
  output.note('keep the root key somewhere else: without it no key can be used');
}

/** Reads the file again: all of it opens, or, where only its recipients can open it, it has its hash. */
async function checkWritten(
  file: string,
  sha256: string,
  passphrase: SecretBytes | undefined,
): Promise<void> {
  const { verifyBackup } = await import('../../server/recovery/recovery.ts');
  await verifyBackup({ file, sha256, ...(passphrase === undefined ? {} : { passphrase }) });
}

interface OpenOptions {
  readonly identity?: string;
  readonly passphraseFile?: string;
}

interface VerifyOptions extends OpenOptions {
  readonly sha256?: string;
}

interface RestoreOptions extends OpenOptions {
  readonly revokeTokens?: boolean;
  readonly withoutAlerts?: boolean;
}

async function verifyFile(tools: Tools, options: VerifyOptions, file: string): Promise<void> {
  if (file === '-') {
    throw new KeyreeveError('invalid-request', 'a backup is verified where it is kept, as a file', {
      hint: 'Write it to a file first.',
    });
  }
  const { verifyBackup } = await import('../../server/recovery/recovery.ts');
  const { sha256 } = options;
  const canOpen = options.identity !== undefined || options.passphraseFile !== undefined;
  using unlock = sha256 !== undefined && !canOpen ? locked : await unlockOf(tools, options);
  const config = await placeOf(tools);
  const result = await verifyBackup({ file, ...unlock.options, sha256, ...config });
  const { output } = tools;
  output.data(result);
  output.note(`the backup is whole${result.manifest ? `, of ${result.manifest.createdAt}` : ''}`);
  if (!result.opened) output.note('it was compared with its hash alone, and not opened');
  else if (result.sealed) output.note('it was made with the root key that is here');
  else output.note('the root key is not here: restoring checks that it was made with it');
}

async function restoreFile(tools: Tools, options: RestoreOptions, file: string): Promise<void> {
  refuseSharedInput(file, options.identity, options.passphraseFile);
  const { restoreBackup } = await import('../../server/recovery/recovery.ts');
  using unlock = await unlockOf(tools, options);
  const config = await configOf(tools);
  const choices = {
    revokeTokens: options.revokeTokens === true,
    withoutAlerts: options.withoutAlerts === true,
  };
  const from = file === '-' ? { source: tools.context.standardInput } : { file };
  const result = await restoreBackup({ ...from, ...unlock.options, config, ...choices });
  const { output } = tools;
  output.data(result);
  output.note(`restored the backup of ${result.createdAt} into ${config.data}`);
  output.note(`${result.keys} keys, ${result.entries} entries, ${result.validTokens} valid tokens`);
  if (result.keysLeftOut > 0) {
    output.note(`${result.keysLeftOut} keys are in no backup, by their policy, and cannot be used`);
  }
  for (const name of result.tombstonesReplayed)
    output.note(`destroyed since then, and again: ${name}`);
  if (result.tombstonesRefused.length > 0) {
    output.note(
      `${result.tombstonesRefused.length} tombstones were refused: look into it (--json)`,
    );
  }
}

interface UpgradeOptions {
  readonly recipient?: string[];
  readonly passphraseFile?: string;
  readonly backup?: string;
}

async function upgrade(tools: Tools, options: UpgradeOptions): Promise<void> {
  const { upgrade: upgradeData } = await import('../../server/recovery/recovery.ts');
  using passphrase = await passphraseOf(tools, options.passphraseFile);
  const result = await upgradeData({
    config: await configOf(tools),
    ...(options.backup === undefined ? {} : { file: options.backup }),
    ...(options.recipient === undefined ? {} : { recipients: options.recipient }),
    ...(passphrase === undefined ? {} : { passphrase }),
  });
  tools.output.data(result);
  if (result.backup !== undefined) tools.output.note(`the backup from before is ${result.backup}`);
  tools.output.note(
    result.from === result.to
      ? `nothing to do: the schema is ${result.to}`
      : `the schema was ${result.from} and is ${result.to}`,
  );
}

async function configOf(tools: Tools) {
  const { loadConfig } = await import('../../server/config/config.ts');
  return loadConfig(tools.context.env);
}

/** Where the root key is, where this machine is configured at all: a backup is checked anywhere. */
async function placeOf(tools: Tools): Promise<{ config?: Config }> {
  const { checkConfig } = await import('../../server/config/config.ts');
  const report = checkConfig(tools.context.env);
  return report.ok ? { config: report.config } : {};
}

interface Unlocking extends Disposable {
  readonly options: { readonly passphrase?: SecretBytes; readonly identity?: string };
}

/** Nothing that opens: the bytes of the file are compared alone. */
const locked: Unlocking = { options: {}, [Symbol.dispose]: () => undefined };
const identityBytesMax = 65_536;

async function unlockOf(tools: Tools, options: OpenOptions): Promise<Unlocking> {
  requireOne(options.identity, options.passphraseFile, '--identity');
  const passphrase = await passphraseOf(tools, options.passphraseFile);
  if (passphrase !== undefined) {
    return { options: { passphrase }, [Symbol.dispose]: () => passphrase[Symbol.dispose]() };
  }
  const identity = await readText(tools.context, options.identity!, identityBytesMax);
  return { options: { identity }, [Symbol.dispose]: () => undefined };
}

async function passphraseOf(
  tools: Tools,
  path: string | undefined,
): Promise<SecretBytes | undefined> {
  return path === undefined ? undefined : await readPassphrase(tools.context, path);
}

function requireOne(first: unknown, second: unknown, name: string): void {
  if ((first === undefined) !== (second === undefined)) return;
  throw new KeyreeveError(
    'invalid-request',
    first === undefined
      ? `${name} or --passphrase-file is needed`
      : `${name} and --passphrase-file cannot both be given`,
    { hint: 'A backup is encrypted either to age recipients or to a passphrase.' },
  );
}
