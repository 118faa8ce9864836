import type { Command } from 'commander';
import { act, type RunState } from '../act.ts';
import { gather } from '../arguments.ts';
import {
  cancelDestroy,
  destroyKey,
  exportPublicKey,
  rotateKey,
  setState,
  updateKey,
} from '../keys/change.ts';
import { adoptKey, createKey, importKey } from '../keys/make.ts';
import { listKeys, showKey } from '../keys/view.ts';

export function addKeyCommands(program: Command, state: RunState): void {
  const key = program.command('key').description('keys and their life');
  addMaking(key, state);
  key
    .command('list')
    .description('list the keys you may see')
    .option('--folder <folder>', 'only keys in this folder and below')
    .option('--purpose <purpose>', 'only keys for this purpose')
    .option('--label <name=value>', 'only keys with this label')
    .option('--limit <count>', 'at most this many', '1000')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listKeys));
  key
    .command('show')
    .description('show a key and its versions')
    .argument('<name>')
    .action(act(state, showKey));
  policyOptions(key.command('update'))
    .description('change labels, owner or policy; what is not named stays as it is')
    .argument('<name>')
    .option('--label <name=value>', 'all labels anew; several times', gather)
    .option('--no-labels', 'take all labels away')
    .option('--owner <principal>', 'who answers for the key')
    .action(act(state, updateKey));
  key
    .command('public')
    .description('write the public key (PEM); needs no token')
    .argument('<name[@version]>')
    .requiredOption('--out <file>', 'where to, or - for standard output')
    .action(act(state, exportPublicKey));
  addLife(key, state);
}

function addMaking(key: Command, state: RunState): void {
  makingOptions(key.command('create'))
    .description('make a key')
    .argument('<name>')
    .action(act(state, createKey));
  makingOptions(key.command('import'))
    .description('take in a key that was made elsewhere')
    .argument('<name>')
    .requiredOption('--in <file>', 'PEM, DER or raw secret key, or - for standard input')
    .option('--passphrase-file <file>', 'opens an encrypted PEM')
    .option('--wrapped', 'the file is wrapped for a key of purpose wrap')
    .option('--wrapping-key <name>', 'the key that it is wrapped for')
    .option('--wrapping-scheme <scheme>', 'rsa-aes-kwp or aes-kwp')
    .action(act(state, importKey));
  policyOptions(
    purposeOptions(key.command('adopt'))
      .requiredOption('--keystore <name>', 'where it lies')
      .option('--object <label>', 'its label in the token, or the name of its key file')
      .option('--object-id <hex>', 'its id in the token (CKA_ID)'),
  )
    .description('take over a key that lies in a keystore already, in place')
    .argument('<name>')
    .action(act(state, adoptKey));
}

function addLife(key: Command, state: RunState): void {
  key
    .command('rotate')
    .description('make the next version')
    .argument('<name>')
    .option('--activates-at <time>', 'publish it now, use it from then on; a time or 7d')
    .option('--saw-version <number>', 'make one only if this is still the newest')
    .option('--algorithm <algorithm>', 'another algorithm from now on')
    .action(act(state, rotateKey));
  key
    .command('state')
    .description('set a version active, suspended, deactivated or compromised')
    .argument('<name[@version]>')
    .argument('<state>')
    .option('--reason <text>', 'goes on the record')
    .action(act(state, setState));
  key
    .command('destroy')
    .description('destroy a key after a waiting time; until then it can be taken back')
    .argument('<name>')
    .option('--after <duration>', 'how long to wait, such as 7d')
    .option('--yes', 'do not ask')
    .action(act(state, destroyKey));
  key
    .command('cancel-destroy')
    .description('take a destruction back')
    .argument('<name>')
    .action(act(state, cancelDestroy));
}

function makingOptions(command: Command): Command {
  command.requiredOption('--algorithm <algorithm>', 'such as rsa-3072, p-256, ed25519, aes-256');
  return policyOptions(
    purposeOptions(command).option('--keystore <name>', 'where the private key lives'),
  );
}

/** What every key has, however it comes to be. */
function purposeOptions(command: Command): Command {
  return command
    .requiredOption('--purpose <purpose>', 'sign, encrypt, mac, wrap, agree, encapsulate, ca')
    .option('--scheme <scheme>', 'what it may be used with; the first is the default', gather)
    .option('--label <name=value>', 'several times', gather)
    .option('--owner <principal>', 'who answers for the key; you, if left out');
}

function policyOptions(command: Command): Command {
  command.option('--validity <duration>', 'how long a version protects new data');
  return furtherPolicyOptions(command);
}

/** Those of them that a CA has too: its validity is that of its certificate. */
export function furtherPolicyOptions(command: Command): Command {
  return command
    .option('--rotate-every <duration>', 'when it is due to be rotated')
    .option('--on-rotation <what>', 'the old version: overlap, supersede or expire')
    .option('--overlap <duration>', 'how long the old version stays active')
    .option('--allowed-keystore <name>', 'where versions may be made; several times', gather)
    .option(
      '--storage <class>',
      'class of the storage table, such as tls-server; fixed at creation',
    )
    .option('--recovery <kind>', 'replica: in backups; none: not; fixed at creation')
    .option('--export-lock <on|off>', 'on: the private half never leaves its keystore')
    .option('--assurance <level>', 'what its keystore must have, such as fips-140-2-level-3')
    .option('--destroy-after <duration>', 'how long a destruction waits at least')
    .option('--review-every <duration>', 'how often the owner has to review it');
}
