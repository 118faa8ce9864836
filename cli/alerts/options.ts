/** Where a target of alerts is and what it trusts, from the words of the command line. */
import type { alertTargetKinds } from '../../api/routes/alerts.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { readPassphrase, readText } from '../files.ts';

export interface SecretOptions {
  readonly secretFile?: string;
  readonly passwordFile?: string;
  readonly slackFile?: string;
  readonly ca?: string;
  readonly systemCas?: boolean;
  readonly from?: string;
  readonly to?: string[];
  readonly plainHttp?: boolean;
}

export interface AddressOptions {
  readonly webhook?: string;
  readonly slackFile?: string;
  readonly syslog?: string;
  readonly mail?: string;
}

type Kind = (typeof alertTargetKinds)[number];

const caBytesMax = 64 * 1024;

/** Kind, address and settings of a new target. Throws where not exactly one is named. */
export async function targetFrom(tools: Tools, options: AddressOptions & SecretOptions) {
  const { webhook, slackFile, syslog, mail } = options;
  const named: Record<Kind, string | undefined> = { webhook, slack: slackFile, syslog, mail };
  const given = (Object.keys(named) as Kind[]).filter((kind) => named[kind] !== undefined);
  const [kind, ...more] = given;
  if (kind === undefined || more.length > 0) {
    throw new KeyreeveError('invalid-request', 'a target is of one kind', {
      hint: 'Give exactly one of --webhook, --slack-file, --syslog, --mail.',
    });
  }
  const address = kind === 'slack' ? undefined : named[kind];
  return {
    kind,
    ...(address === undefined ? {} : { address }),
    ...(await settingsFrom(tools, options)),
  };
}

/** What stands in files, read; what was left out is left out. */
export async function settingsFrom(tools: Tools, options: SecretOptions) {
  const { ca, systemCas, from, to, plainHttp } = options;
  const secret = await readSecret(tools, options);
  return {
    ...(secret === undefined ? {} : { secret }),
    ...(ca === undefined ? {} : { ca: await readText(tools.context, ca, caBytesMax) }),
    ...(systemCas === true ? { ca: '' } : {}),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(plainHttp === undefined ? {} : { allowPlainHttp: plainHttp }),
  };
}

/** The one secret of a target, from a file that only its owner may read. */
async function readSecret(
  tools: Tools,
  { secretFile, passwordFile, slackFile }: SecretOptions,
): Promise<string | undefined> {
  const [file, ...more] = [secretFile, passwordFile, slackFile].filter((one) => one !== undefined);
  if (file === undefined) return undefined;
  if (more.length > 0) {
    throw new KeyreeveError('invalid-request', 'a target has one secret', {
      hint: 'Give one of --secret-file (webhook), --password-file (mail), --slack-file.',
    });
  }
  using secret = await readPassphrase(tools.context, file);
  return secret.reveal().toString('utf8');
}
