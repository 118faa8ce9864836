import { pemLengthMax } from '../../api/routes/authorities.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import {
  type ConstraintOptions,
  constraintsFromOptions,
  pathLengthOf,
  printNotes,
  seconds,
} from '../authorities/options.ts';
import { parseTime } from '../durations.ts';
import { readInput } from '../files.ts';
import { checkPublicOutput, pemLines, writePublic } from './public-output.ts';

interface IssueOptions extends ConstraintOptions {
  readonly ca: string;
  readonly profile: string;
  readonly csr?: string;
  readonly key?: string;
  readonly out: string;
  readonly chain?: string;
  readonly withChain?: boolean;
  readonly subject?: string;
  readonly name?: string[];
  readonly validity?: string;
  readonly notAfter?: string;
  readonly pathLength?: string;
}

/** Has a certificate made and writes it; with the chain behind it or beside it where asked for. */
export async function issueCertificate(tools: Tools, options: IssueOptions): Promise<void> {
  const { output, context } = tools;
  checkOptions(options);
  await checkPublicOutput(tools, options.out, 'CERTIFICATE');
  await checkPublicOutput(tools, options.chain, 'CERTIFICATE');
  const { notAfter } = options;
  const body = {
    ca: options.ca,
    profile: options.profile,
    csr: options.csr === undefined ? undefined : await readRequest(tools, options.csr),
    key: options.key,
    subject: options.subject,
    names: options.name,
    validitySeconds: seconds(options.validity),
    notAfter:
      notAfter === undefined ? undefined : parseTime(notAfter, context.clock.now(), 'after'),
    pathLength: pathLengthOf(options.pathLength),
    nameConstraints: constraintsFromOptions(options),
  };
  const made = await tools.client().call('certificate.issue', { body });
  const pem = pemLines(made.certificate ?? '');
  const chain = pemLines(made.chain);
  await writePublic(tools, options.out, options.withChain === true ? pem + chain : pem);
  if (options.chain !== undefined) await writePublic(tools, options.chain, chain);
  output.data(made);
  const who = made.subject === '' ? made.names.join(' ') : made.subject;
  output.note(`issued ${made.serial} to ${who}, until ${made.notAfter}`);
  printNotes(tools, made.notes);
}

function checkOptions(options: IssueOptions): void {
  const refuse = (message: string, hint: string) => {
    throw new KeyreeveError('invalid-request', message, { hint });
  };
  if ((options.csr === undefined) === (options.key === undefined)) {
    refuse(
      'one of --csr and --key is needed',
      'Name a file with a certificate request, or a key of this installation.',
    );
  }
  if (options.validity !== undefined && options.notAfter !== undefined) {
    refuse('--validity and --not-after exclude each other', 'Say one of them.');
  }
  if (options.chain !== undefined && options.withChain === true) {
    refuse('--chain and --with-chain exclude each other', 'Say where the chain is to go.');
  }
  if (options.chain === options.out) {
    refuse('both outputs have the same name', 'Use --with-chain to have both in one file.');
  }
}

/** The request as the service takes it: PEM as it is, DER in base64. */
async function readRequest(tools: Tools, path: string): Promise<string> {
  const bytes = await readInput(tools.context, path, {
    // In base64 it is a third longer.
    bytesMax: Math.floor((pemLengthMax * 3) / 4),
    tooLargeHint: 'Name a file with one certificate request.',
  });
  const isText = bytes.every((byte) => byte < 0x80 && (byte >= 0x20 || isSpace(byte)));
  const text = bytes.toString(isText ? 'latin1' : 'base64');
  if (!text.includes('PRIVATE KEY-----')) return text;
  throw new KeyreeveError('invalid-request', `${path} holds a private key`, {
    hint: 'Name the file with the request; the key stays where it is.',
  });
}

/** Tab, line feed, carriage return. */
function isSpace(byte: number): boolean {
  return byte === 0x09 || byte === 0x0a || byte === 0x0d;
}
