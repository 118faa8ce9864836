import type { Command } from 'commander';
import { act, type RunState } from '../act.ts';
import { gather } from '../arguments.ts';
import { issueCertificate } from '../certificates/issue.ts';
import { makeRequest } from '../certificates/request.ts';
import {
  blockKey,
  listBlockedKeys,
  purgeCertificates,
  releaseCertificate,
  revokeCertificate,
  unblockKey,
} from '../certificates/revoke.ts';
import { exportCertificates, listCertificates, showCertificate } from '../certificates/search.ts';

export function addCertificateCommands(program: Command, state: RunState): void {
  const cert = program.command('cert').description('certificates');
  addMaking(cert, state);
  addLooking(cert, state);
  addEnding(cert, state);
  addBlocking(cert, state);
}

function addMaking(cert: Command, state: RunState): void {
  cert
    .command('issue')
    .description('issue a certificate for a request, or for a key of this installation')
    .requiredOption('--ca <name>', 'the CA that signs it')
    .requiredOption('--profile <name>', 'what it is for, such as tls-server')
    .requiredOption('--out <file>', 'the certificate (PEM), or - for standard output')
    .option('--csr <file>', 'the request (PKCS#10), or - for standard input')
    .option('--key <name>', 'or a key of this installation: its current version is certified')
    .option('--with-chain', 'the CAs above it behind it, as nginx takes it')
    .option('--chain <file>', 'the CAs above it into a file of their own')
    .option('--subject <dn>', 'in place of the subject of the request')
    .option(
      '--name <name>',
      'in place of its names: dns:www.example.org, ip:, email:, uri:',
      gather,
    )
    .option('--validity <duration>', 'how long it is valid, such as 90d')
    .option('--not-after <time>', 'or until when')
    .option('--path-length <number>', 'for profiles of CAs: how many may follow below it')
    .option('--permit <name>', 'for profiles of CAs: names it may certify; several', gather)
    .option('--exclude <name>', 'for profiles of CAs: names it may not certify; several', gather)
    .action(act(state, issueCertificate));
  cert
    .command('request')
    .description('make a request on this host, for a key in a file that never leaves it')
    .requiredOption('--subject <dn>', 'such as "CN=www.example.org,O=Example"')
    .requiredOption('--out <file>', 'the request (PEM), or - for standard output')
    .option('--name <name>', 'dns:www.example.org, ip:192.0.2.1, email:, uri:; several', gather)
    .option('--new-key <file>', 'make a private key there, for you alone to read')
    .option('--algorithm <algorithm>', 'of the new key; p-256, if left out')
    .option('--key <file>', 'or use the private key there')
    .option('--passphrase-file <file>', 'encrypts the new key, or opens the one there')
    .option('--scheme <scheme>', 'how the request is signed; the first of its algorithm')
    .action(act(state, makeRequest));
}

function addLooking(cert: Command, state: RunState): void {
  searchOptions(cert.command('list'))
    .description('search the certificates that were issued, newest first')
    .option('--limit <count>', 'at most this many', '100')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listCertificates));
  cert
    .command('show')
    .description('show a certificate by its serial number')
    .argument('<serial>')
    .option('--ca <name>', 'of this CA, where several have issued the number')
    .option('--out <file>', 'write it as PEM, or - for standard output')
    .action(act(state, showCertificate));
  searchOptions(cert.command('export'))
    .description('write every certificate that a search finds')
    .requiredOption('--out <file>', 'where to, or - for standard output')
    .option('--format <format>', 'pem or jsonl', 'pem')
    .action(act(state, exportCertificates));
}

function searchOptions(command: Command): Command {
  return command
    .option('--ca <name>', 'of this CA')
    .option('--subject <text>', 'with this in the subject')
    .option('--name <name>', 'for this name, or .example.org for all below it')
    .option('--serial <serial>', 'with this number')
    .option('--key <name>', 'of this key: its name, or the SHA-256 of a public key')
    .option('--profile <name>', 'of this profile')
    .option('--state <state>', 'valid, on-hold, revoked or expired')
    .option('--expires-before <time>', 'a time, or 30d for thirty days from now')
    .option('--expires-after <time>', 'a time, or 30d for thirty days from now');
}

function addEnding(cert: Command, state: RunState): void {
  cert
    .command('revoke')
    .description('revoke a certificate; only certificateHold can be taken back')
    .argument('<serial>')
    .option('--reason <reason>', 'such as keyCompromise, superseded, cessationOfOperation')
    .option('--invalid-from <time>', 'since when its key may have been in other hands')
    .option('--ca <name>', 'of this CA, where several have issued the number')
    .action(act(state, revokeCertificate));
  cert
    .command('release')
    .description('take a certificate off hold')
    .argument('<serial>')
    .option('--ca <name>', 'of this CA, where several have issued the number')
    .action(act(state, releaseCertificate));
  cert
    .command('purge')
    .description('forget certificates that expired long ago')
    .requiredOption('--ca <name>', 'of this CA')
    .requiredOption('--expired-before <time>', 'a time, or 90d for ninety days ago')
    .option('--yes', 'do not ask')
    .action(act(state, purgeCertificates));
}

function addBlocking(cert: Command, state: RunState): void {
  cert
    .command('block-key')
    .description('refuse a public key in any certificate from now on')
    .argument('<file-or-sha256>', 'PEM of a key, request or certificate; or the digest of the key')
    .requiredOption('--reason <text>', 'why')
    .action(act(state, blockKey));
  cert
    .command('blocked-keys')
    .description('list the public keys that are refused')
    .option('--limit <count>', 'at most this many', '1000')
    .option('--after <cursor>', 'go on after "next" of the answer before')
    .action(act(state, listBlockedKeys));
  cert
    .command('unblock-key')
    .description('let a public key be certified again')
    .argument('<sha256>')
    .action(act(state, unblockKey));
}
