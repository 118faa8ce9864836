/** The manual page in roff (man(7)), made from the tree of commands. */
import type { Command } from 'commander';
import { type ExitName, exitCodes, exitTitles } from './exit-codes.ts';
import { type CommandNode, commandTree, flatten, type OptionNode } from './tree.ts';

const environment = [
  ['KEYREEVE_URL', 'Address of the service, such as https://127.0.0.1:8443.'],
  ['KEYREEVE_TOKEN', 'Token to call with, in place of that of the profile.'],
  ['KEYREEVE_CERT_FILE', 'PEM file with a client certificate to call with, in place of a token.'],
  ['KEYREEVE_KEY_FILE', 'PEM file of mode 0600 with the private key of that certificate.'],
  ['KEYREEVE_CA_FILE', 'PEM file with the CA of the service, in place of that of the profile.'],
  ['XDG_CONFIG_HOME', 'Folder of configurations, ~/.config where it is not set.'],
  ['NO_COLOR', 'No colours, whatever its value.'],
  ['KEYREEVE_CONFIG', 'Configuration file of the service.'],
  ['KEYREEVE_DATA', 'Data folder of the service.'],
  ['KEYREEVE_SEAL', 'Where the root key is.'],
] as const;

/** The page. It holds no date, so that the same tree always makes the same page. */
export function manualPage(program: Command, version: string): string {
  const root = commandTree(program);
  const commands = flatten(root).filter((node) => node !== root && node.children.length === 0);
  return [
    `.TH KEYREEVE 1 "" "keyreeve ${version}" "Keyreeve"`,
    '.SH NAME',
    'keyreeve \\- steward of the keys of an organisation',
    '.SH SYNOPSIS',
    '.B keyreeve',
    '.I command',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    ...paragraph(
      'Makes, uses, rotates, backs up and destroys the keys that a Keyreeve service holds, and checks its record. Where a file is taken, - is standard input or output. Lengths of time are written as 90d, 12h or 1d12h.',
    ),
    '.SH OPTIONS OF EVERY COMMAND',
    ...root.options.flatMap(optionLines),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    '.SH EXIT STATUS',
    ...(Object.keys(exitCodes) as ExitName[]).flatMap((name) =>
      tagged(`.B ${exitCodes[name]}`, exitTitles[name]),
    ),
    '.SH ENVIRONMENT',
    ...environment.flatMap(([name, what]) => tagged(`.B ${name}`, what)),
    '.SH FILES',
    ...tagged(
      '.I ~/.config/keyreeve/profile.json',
      'What login leaves: address, CA and token, and what was seen of the record. Mode 0600 in a folder of 0700; anything laxer is refused.',
    ),
    '.SH SEE ALSO',
    '.BR openssl (1),',
    '.BR age (1)',
    '',
  ].join('\n');
}

function commandLines(node: CommandNode): string[] {
  const words = [...node.path, ...node.words].join(' ');
  const required = node.options.filter((option) => option.required);
  const usage = ['keyreeve', words, ...required.map((option) => option.flags)].join(' ');
  return [
    `.SS ${roff(node.path.join(' '))}`,
    `.B ${roff(usage)}`,
    '.PP',
    roff(sentence(node.description)),
    ...node.options.flatMap(optionLines),
  ];
}

function optionLines(option: OptionNode): string[] {
  return tagged(`.B ${roff(option.flags)}`, sentence(option.description));
}

function tagged(tag: string, text: string): string[] {
  return ['.TP', tag, roff(text)];
}

function paragraph(text: string): string[] {
  return [roff(text)];
}

function sentence(text: string): string {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return whole.endsWith('.') ? whole : `${whole}.`;
}

/** Hyphens that are to be copied are minus signs in roff; a dot or quote at the start is a request. */
function roff(text: string): string {
  const escaped = text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('…', '...');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
