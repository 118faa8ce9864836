/** A certificate request for a private key that stays on this host. */
import type { KeyObject } from 'node:crypto';
import {
  type AlgorithmName,
  type AlgorithmRow,
  algorithms,
  type SchemeName,
} from '../../api/algorithms.ts';
import { refuseOccupied } from '../../client/encrypted-file-output.ts';
import { isKeyreeveError, KeyreeveError } from '../../server/base/errors.ts';
import { readPrivateFile } from '../../server/base/files.ts';
import { pemText } from '../../server/base/pem.ts';
import { SecretBytes } from '../../server/base/secret-bytes.ts';
import type { LocalKeyMaterial } from '../../server/crypto/crypto.ts';
import type { Tools } from '../act.ts';
import { readPassphrase, writeOutput } from '../files.ts';
import { checkPublicOutput, writePublic } from './public-output.ts';

const algorithmDefault = 'p-256';
const requestLabel = 'CERTIFICATE REQUEST';

interface RequestOptions {
  readonly subject: string;
  readonly name?: string[];
  readonly key?: string;
  readonly newKey?: string;
  readonly algorithm?: string;
  readonly scheme?: string;
  readonly passphraseFile?: string;
  readonly out: string;
}

/** Writes the request, and before it the key where a new one is made. Asks no service. */
export async function makeRequest(tools: Tools, options: RequestOptions): Promise<void> {
  checkOptions(options);
  await checkPublicOutput(tools, options.out, requestLabel);
  const x509 = await import('../../server/x509/x509.ts');
  const crypto = await import('../../server/crypto/crypto.ts');
  // What is wrong with the names is found before a key is made for them.
  const subject = x509.encodeName(x509.parseName(options.subject));
  const names = (options.name ?? []).map((name) => withHint(() => x509.parseGeneralName(name)));
  using passphrase =
    options.passphraseFile === undefined
      ? undefined
      : await readPassphrase(tools.context, options.passphraseFile);

  // Step 1: the key.
  const keyFile = (options.key ?? options.newKey)!;
  const material =
    options.key === undefined
      ? await makeKey(options.newKey!, options.algorithm ?? algorithmDefault)
      : await readKey(options.key, passphrase);
  const scheme = schemeOf(material.algorithm, options.scheme);

  // Step 2: the request, signed with it.
  const extensions = names.length === 0 ? {} : { subjectAltNames: names };
  const info = x509.encodeRequest(subject, extensions, material.spki!);
  const signature = await crypto.sign(scheme, material.privateKey, info);
  const der = x509.assembleSigned(info, scheme, signature);

  // Step 3: the files. A request without its key is of no use, so the key goes first.
  if (options.newKey !== undefined) {
    await writeKey(tools, keyFile, material.privateKey, passphrase);
  }
  await writePublic(tools, options.out, pemText(requestLabel, der));
  const { algorithm, fingerprint } = material;
  const { output } = tools;
  output.data({
    request: options.out,
    key: keyFile,
    algorithm,
    scheme,
    keyFingerprint: fingerprint,
  });
  if (options.newKey !== undefined) {
    output.note(`made a private key, ${algorithm}, in ${keyFile}: it never leaves this host`);
  }
  output.note(`request for ${options.subject} in ${options.out}, public key sha256 ${fingerprint}`);
  output.note(
    `next: keyreeve cert issue --ca NAME --profile PROFILE --csr ${options.out} --out FILE`,
  );
}

function checkOptions(options: RequestOptions): void {
  const refuse = (message: string, hint: string) => {
    throw new KeyreeveError('invalid-request', message, { hint });
  };
  if ((options.key === undefined) === (options.newKey === undefined)) {
    refuse('one of --key and --new-key is needed', 'Name the file with your key, or one to make.');
  }
  if ((options.key ?? options.newKey) === '-') {
    refuse('a private key is a file', 'Name a file that only you may read.');
  }
  if ((options.key ?? options.newKey) === options.out) {
    refuse('key and request have the same name', 'Name two files.');
  }
  if (options.key !== undefined && options.algorithm !== undefined) {
    refuse('--algorithm is for new keys', 'Leave it out: the key has its algorithm.');
  }
}

/** Says how names are written, where the refusal does not. */
function withHint<Name>(parse: () => Name): Name {
  try {
    return parse();
  } catch (error) {
    if (!isKeyreeveError(error) || error.hint !== undefined) throw error;
    throw new KeyreeveError(error.code, error.message, {
      hint: 'Write it as dns:www.example.org, ip:192.0.2.1, email:ada@example.org or uri:https://…',
      cause: error,
    });
  }
}

async function makeKey(path: string, name: string): Promise<LocalKeyMaterial> {
  await refuseOccupied(path, false);
  if (!Object.hasOwn(algorithms, name)) {
    throw new KeyreeveError('unknown-algorithm', `"${name}" is no algorithm`, {
      hint: `Those that sign: ${signing().join(', ')}.`,
    });
  }
  const algorithm = name as AlgorithmName;
  schemeOf(algorithm, undefined);
  const { generateKeyMaterial } = await import('../../server/crypto/crypto.ts');
  return await generateKeyMaterial(algorithm);
}

/** A key file that only its owner may read; a laxer one is refused. */
async function readKey(
  path: string,
  passphrase: SecretBytes | undefined,
): Promise<LocalKeyMaterial> {
  const { algorithmOfPrivate, importPrivate } = await import('../../server/crypto/crypto.ts');
  using input = new SecretBytes(readPrivateFile(path));
  const algorithm = algorithmOfPrivate(input, passphrase);
  return await importPrivate(algorithm, input, passphrase);
}

async function writeKey(
  tools: Tools,
  path: string,
  key: KeyObject,
  passphrase: SecretBytes | undefined,
): Promise<void> {
  const encryption =
    passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase: passphrase.reveal() };
  using pem = new SecretBytes(
    Buffer.from(key.export({ format: 'pem', type: 'pkcs8', ...encryption }), 'latin1'),
  );
  await writeOutput(tools.context, path, pem.reveal(), { private: true, force: false });
}

/** How the key signs its request: as asked, or in the first way that its algorithm has. */
function schemeOf(algorithm: AlgorithmName, wanted: string | undefined): SchemeName {
  const row: AlgorithmRow = algorithms[algorithm];
  const schemes = row.purposes.sign;
  if (schemes === undefined) {
    throw new KeyreeveError('algorithm-purpose-mismatch', `${algorithm} keys do not sign`, {
      hint: `Those that do: ${signing().join(', ')}.`,
    });
  }
  if (wanted === undefined) return schemes.default[0]!;
  const found = schemes.allowed.find((one) => one === wanted);
  if (found !== undefined) return found;
  throw new KeyreeveError('scheme-not-allowed', `${algorithm} does not sign with "${wanted}"`, {
    hint: `Choose one of: ${schemes.allowed.join(', ')}.`,
  });
}

function signing(): string[] {
  return (Object.entries(algorithms) as [string, AlgorithmRow][])
    .filter(([, row]) => row.kind === 'asymmetric' && row.purposes.sign !== undefined)
    .map(([name]) => name);
}
