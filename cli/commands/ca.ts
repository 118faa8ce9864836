import type { Command } from 'commander';
import { act, type RunState } from '../act.ts';
import { gather } from '../arguments.ts';
import { createCa, rekeyCa, renewCa, updateCa } from '../authorities/make.ts';
import { importCa } from '../authorities/takeover.ts';
import { listCas, showCa, writeChain } from '../authorities/view.ts';
import { furtherPolicyOptions } from './key.ts';

export function addAuthorityCommands(program: Command, state: RunState): void {
  const ca = program.command('ca').description('certificate authorities');
  addMaking(ca, state);
  ca.command('list')
    .description('list the certificate authorities you may see')
    .option('--limit <count>', 'at most this many', '1000')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listCas));
  ca.command('show')
    .description('show a certificate authority and the versions of its key')
    .argument('<name>')
    .action(act(state, showCa));
  ca.command('chain')
    .description('print the certificates from a CA up to its root (PEM); needs no token')
    .argument('<name[@version]>')
    .option('--out <file>', 'into a file')
    .option('--cross', 'and those that lead from an older root to this one and back')
    .action(act(state, writeChain));
  addChanging(ca, state);
}

function addMaking(ca: Command, state: RunState): void {
  const create = ca
    .command('create')
    .description('make a CA: its key and its certificate')
    .argument('<name>')
    .requiredOption('--subject <dn>', 'such as "CN=Example Root,O=Example,C=DE"')
    .requiredOption('--algorithm <algorithm>', 'such as p-256, p-384, rsa-3072, ml-dsa-65')
    .option('--validity <duration>', 'of its certificate, such as 10y')
    .option('--path-length <number>', 'how many CAs may follow below it')
    .option('--permit <name>', 'names it may certify, such as dns:example.org; several', gather)
    .option('--exclude <name>', 'names it may not certify; several times', gather);
  newCaOptions(create).action(act(state, createCa));
  const take = ca
    .command('import')
    .description('take over a CA that was run elsewhere, with what it issued and revoked')
    .argument('<name>')
    .option('--openssl-ca <folder>', 'find the files below where openssl ca keeps them')
    .option('--key <file>', 'its private key, PEM')
    .option('--passphrase-file <file>', 'opens an encrypted key')
    .option('--object <label>', 'its key is in --keystore already, and is called this there')
    .option('--object-id <hex>', 'the same by its id there (CKA_ID)')
    .option('--certificate <file>', 'its certificate, then those above it, PEM')
    .option('--index <file>', 'the index.txt of openssl ca')
    .option('--certificates <file>', 'PEM file or folder of them that it issued; several', gather)
    .option('--crl-number <file>', 'the crlnumber of openssl, or the newest number (hex)');
  newCaOptions(take).action(act(state, importCa));
}

/** What a CA has that is new here. */
function newCaOptions(command: Command): Command {
  command
    .option('--parent <name>', 'the CA that certifies it; a root, if left out')
    .option('--scheme <scheme>', 'how it signs; the first of its algorithm, if left out')
    .option('--keystore <name>', 'where the private key lives')
    .option('--max-validity <duration>', 'longest validity of what it issues')
    .option('--purge-after <duration>', 'forget what expired this long ago');
  settingsOptions(command)
    .option('--label <name=value>', 'several times', gather)
    .option('--owner <principal>', 'who answers for the key; you, if left out');
  return furtherPolicyOptions(command);
}

function settingsOptions(command: Command): Command {
  return command
    .option('--profile <name>', 'a profile that it issues; several; every one, if left out', gather)
    .option('--crl-every <duration>', 'how often a CRL is published, such as 1d')
    .option('--crl-validity <duration>', 'how long a CRL is valid, such as 7d');
}

function addChanging(ca: Command, state: RunState): void {
  settingsOptions(ca.command('update'))
    .description('change how a CA is run; what is not named stays as it is')
    .argument('<name>')
    .option('--every-profile', 'let it issue every profile again')
    .option('--max-validity <duration>', 'longest validity of what it issues')
    .option('--no-max-validity', 'take that limit away')
    .option('--purge-after <duration>', 'forget what expired this long ago')
    .option('--no-purge-after', 'keep everything')
    .action(act(state, updateCa));
  ca.command('rekey')
    .description('give a CA a new key; a root is cross-signed in both directions')
    .argument('<name>')
    .option('--algorithm <algorithm>', 'another algorithm from now on')
    .option('--validity <duration>', 'of the new certificate')
    .option('--saw-version <number>', 'make one only if this is still the newest')
    .action(act(state, rekeyCa));
  ca.command('renew')
    .description('give the current key of a CA a new certificate')
    .argument('<name>')
    .option('--validity <duration>', 'of the new certificate')
    .option('--saw-version <number>', 'renew only if this is still the newest')
    .action(act(state, renewCa));
}
