/**
 * `npm run generate-keys [rsa|ecdsa] [id]`: a key pair as files, without a service. What it makes
 * can be used as it is (openssl reads it) or imported with `keyreeve key import`.
 */
import { parseArgs } from 'node:util';
import { KeyreeveError } from '../server/base/errors.ts';
import { type CliContext, processContext } from './context.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { readPassphrase } from './files.ts';
import { generateKeyFiles } from './generated-keys/generate.ts';
import { type Kind, type KindOptions, kinds, parametersOf } from './generated-keys/kinds.ts';
import { renderError } from './render-error.ts';

const usage = `usage: npm run generate-keys [rsa|ecdsa] [id] [-- options]

  rsa|ecdsa        what to make; rsa, if left out
  id               its name; such as rsa-2026-05 for this month, if left out
  --size <bits>    of an RSA key: 2048 (if left out), 3072 or 4096
  --curve <curve>  of an ECDSA key: p-256 (if left out), p-384 or p-521
  --help           this text

  CRYPTO_KEYS_PATH            folder of the keys; keys, if left out
  CRYPTO_KEY_PASSPHRASE_FILE  file with the passphrase that private keys are encrypted with
`;

/** Runs the command and returns the code to end with. */
export async function runGenerateKeys(
  words: readonly string[],
  context: CliContext,
): Promise<ExitCode> {
  try {
    await generate(words, context);
    return exitCodes.ok;
  } catch (error) {
    return renderError(context, error, false);
  }
}

async function generate(words: readonly string[], context: CliContext): Promise<void> {
  const { values, positionals } = parse(words);
  if (values.help === true) {
    context.standardOutput.write(usage);
    return;
  }
  const [kindName = 'rsa', id, ...rest] = positionals;
  if (!(kinds as readonly string[]).includes(kindName) || rest.length > 0) {
    throw new KeyreeveError('invalid-request', `"${words.join(' ')}" is not what this takes`, {
      hint: 'Write it as: npm run generate-keys rsa rsa-2026-05, or with ecdsa in place of rsa.',
    });
  }
  const kind = kindName as Kind;
  const passphraseFile = context.env.CRYPTO_KEY_PASSPHRASE_FILE || undefined;
  using passphrase =
    passphraseFile === undefined ? undefined : await readPassphrase(context, passphraseFile);
  const made = await generateKeyFiles({
    folder: context.env.CRYPTO_KEYS_PATH || 'keys',
    id: id ?? defaultId(kind, context.clock.now()),
    parameters: parametersOf(kind, values),
    passphrase,
    now: context.clock.now(),
  });
  context.standardOutput.write(
    `private key: ${made.privatePath}${made.encrypted ? ' (encrypted)' : ''}\n` +
      `public key:  ${made.publicPath}\nmetadata:    ${made.metadataPath}\n`,
  );
  if (made.encrypted) return;
  context.standardError.write(
    'hint: set CRYPTO_KEY_PASSPHRASE_FILE to have private keys encrypted\n',
  );
}

/** `rsa-2026-05`: the kind and the month, in UTC. */
function defaultId(kind: Kind, now: number): string {
  return `${kind}-${new Date(now).toISOString().slice(0, 7)}`;
}

function parse(words: readonly string[]): {
  values: KindOptions & { help?: boolean };
  positionals: string[];
} {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        size: { type: 'string' },
        curve: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new KeyreeveError('invalid-request', (error as Error).message, {
      hint: 'See: npm run generate-keys -- --help',
      cause: error,
    });
  }
}

if (import.meta.main) {
  process.exitCode = await runGenerateKeys(process.argv.slice(2), processContext());
}
