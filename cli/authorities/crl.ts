import type { Tools } from '../act.ts';
import { parseKeyAndVersion } from '../arguments.ts';
import { refuseMixedOutput, writeOutput } from '../files.ts';

interface GetOptions {
  readonly ca: string;
  readonly out: string;
  readonly der?: boolean;
  /** False by `--no-wait`. */
  readonly wait?: boolean;
}

/** Writes the newest CRL. What was revoked before is in it, unless nobody wants to wait for that. */
export async function getCrl(tools: Tools, options: GetOptions): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const { key: ca, version } = parseKeyAndVersion(options.ca);
  const fresh = options.wait === false ? 'false' : 'true';
  const client = tools.client({ needsToken: false });
  const stream = await client.stream('crl.get', { params: { ca }, query: { version, fresh } });
  let bytes = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of stream) {
      bytes += piece.length;
      yield piece;
    }
  }
  const content = options.der === true ? counted() : pemOf(counted(), 'X509 CRL');
  await writeOutput(context, options.out, content, { private: false, force: true });
  if (options.out !== '-') output.data({ ca, file: options.out, bytes });
  output.note(`CRL of ${ca}: ${bytes} bytes${options.out === '-' ? '' : ` in ${options.out}`}`);
}

export async function publishCrl(tools: Tools, options: { ca: string }): Promise<void> {
  const { key: ca, version } = parseKeyAndVersion(options.ca);
  const request = { params: { ca }, body: { version } };
  const made = await tools.client().call('crl.publish', request);
  tools.output.data(made);
  tools.output.note(
    `published CRL ${made.number} of ${ca}, version ${made.version}: ${made.entries} revoked, valid until ${made.nextUpdate}`,
  );
}

const pemLineBytes = 48;

/** PEM (RFC 7468, lines of 64 letters) of bytes that come in pieces. */
export async function* pemOf(source: AsyncIterable<Buffer>, label: string): AsyncGenerator<Buffer> {
  yield Buffer.from(`-----BEGIN ${label}-----\n`);
  let rest = Buffer.alloc(0);
  for await (const piece of source) {
    const bytes = Buffer.concat([rest, piece]);
    const whole = bytes.length - (bytes.length % pemLineBytes);
    if (whole > 0) yield linesOf(bytes.subarray(0, whole));
    rest = bytes.subarray(whole);
  }
  if (rest.length > 0) yield linesOf(rest);
  yield Buffer.from(`-----END ${label}-----\n`);
}

function linesOf(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('base64').replace(/.{1,64}/g, '$&\n'), 'latin1');
}
