/** The tree of commands: help, completion and manual page are made from it. */
import { Command } from 'commander';
import type { RunState } from './act.ts';
import { addAlertCommands } from './alerts/alerts.ts';
import { addApprovalCommands } from './approvals/approvals.ts';
import { addAccessCommands } from './commands/access.ts';
import { addAgreementCommands } from './commands/agree.ts';
import { addAuditCommands } from './commands/audit.ts';
import { addBackupCommands } from './commands/backup.ts';
import { addAuthorityCommands } from './commands/ca.ts';
import { addCertificateCommands } from './commands/cert.ts';
import { addProfileCommands } from './commands/certificate-profile.ts';
import { addCrlCommands } from './commands/crl.ts';
import { addDataKeyCommands } from './commands/data-key.ts';
import { addEncryptionCommands } from './commands/encrypt.ts';
import { addKeyCommands } from './commands/key.ts';
import { addKeystoreCommands } from './commands/keystore.ts';
import { addLoginCommands } from './commands/login.ts';
import { addMacCommands } from './commands/mac.ts';
import { addPrincipalCommands } from './commands/principal.ts';
import { addRootKeyCommands } from './commands/root-key.ts';
import { addServiceCommands } from './commands/service.ts';
import { addSignCommands } from './commands/sign.ts';
import { addTokenCommands } from './commands/token.ts';
import { addWrapCommands } from './commands/wrap.ts';
import { version } from './version.ts';

/** Builds the tree. Errors of parsing are thrown, not printed. */
export function buildProgram(state: RunState): Command {
  const { standardOutput } = state.context;
  const program = new Command('keyreeve')
    .description('Steward of the keys of an organisation.')
    .version(version(), '-V, --version', 'print the version')
    .option('--url <url>', 'address of the service (KEYREEVE_URL)')
    .option('--ca-file <file>', 'certificate of the CA of the service, PEM (KEYREEVE_CA_FILE)')
    .option('--cert-file <file>', 'client certificate to call with, PEM (KEYREEVE_CERT_FILE)')
    .option('--key-file <file>', 'private key of the client certificate, PEM (KEYREEVE_KEY_FILE)')
    .option('--json', 'answers for programs: the objects of the API')
    .option('--approval <id>', 'run what was asked for under this approval, and nothing else')
    .option('--break-glass <reason>', 'why this cannot wait for the ordinary approvals')
    .helpOption('-h, --help', 'show what the command takes')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError(false)
    .configureOutput({
      writeOut: (text) => void standardOutput.write(text),
      writeErr: (text) => void state.context.standardError.write(text),
      outputError: () => undefined,
    })
    .exitOverride();
  for (const add of groups) add(program, state);
  return program;
}

const groups = [
  addLoginCommands,
  addKeyCommands,
  addSignCommands,
  addEncryptionCommands,
  addDataKeyCommands,
  addMacCommands,
  addWrapCommands,
  addAgreementCommands,
  addAuthorityCommands,
  addCertificateCommands,
  addCrlCommands,
  addProfileCommands,
  addApprovalCommands,
  addAlertCommands,
  addAuditCommands,
  addBackupCommands,
  addKeystoreCommands,
  addRootKeyCommands,
  addTokenCommands,
  addAccessCommands,
  addPrincipalCommands,
  addServiceCommands,
] as const;
