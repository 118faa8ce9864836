import type { CertificateView } from '../../api/routes/certificates.ts';
import { certificateStates } from '../../api/routes/certificates.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { parseTime } from '../durations.ts';
import { formatExpiry } from '../expiry.ts';
import { refuseMixedOutput, writeOutput } from '../files.ts';
import { collectPages, type PageOptions } from '../pages.ts';
import { checkPublicOutput, writePublic } from './public-output.ts';
import { serialOf } from './serial.ts';

interface SearchOptions {
  readonly ca?: string;
  readonly subject?: string;
  readonly name?: string;
  readonly serial?: string;
  readonly key?: string;
  readonly profile?: string;
  readonly state?: string;
  readonly expiresBefore?: string;
  readonly expiresAfter?: string;
}

export async function listCertificates(
  tools: Tools,
  options: SearchOptions & PageOptions,
): Promise<void> {
  const client = tools.client();
  const filter = filterFromOptions(tools, options);
  const list = await collectPages(tools.output, options, (page) =>
    client.call('certificate.list', { query: { ...page, ...filter } }),
  );
  const now = tools.context.clock.now();
  tools.output.data(list);
  // The number first: a narrow terminal cuts lines at their end, and half a number is of no use.
  tools.output.table(
    ['SERIAL', 'STATE', 'EXPIRES', 'CA', 'PROFILE', 'SUBJECT'],
    list.items.map((one) => [
      one.serial,
      one.state,
      one.state === 'revoked' ? '-' : formatExpiry(one.notAfter, now),
      one.ca ?? '-',
      one.profile,
      one.subject === '' ? one.names.join(' ') : one.subject,
    ]),
  );
}

export async function exportCertificates(
  tools: Tools,
  options: SearchOptions & { out: string; format: string },
): Promise<void> {
  const { format, out } = options;
  if (format !== 'pem' && format !== 'jsonl') {
    throw new KeyreeveError('invalid-request', `"${format}" is no format`, {
      hint: 'Choose one of: pem, jsonl.',
    });
  }
  if (format === 'pem') await checkPublicOutput(tools, out, 'CERTIFICATE');
  else refuseMixedOutput(out, tools.output.json);
  const body = { ...filterFromOptions(tools, options), format } as const;
  const stream = await tools.client().stream('certificate.export', { body });
  let bytes = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of stream) {
      bytes += piece.length;
      yield piece;
    }
  }
  await writeOutput(tools.context, out, counted(), { private: false, force: true });
  if (out !== '-') tools.output.data({ file: out, bytes });
  tools.output.note(`wrote ${bytes} bytes`);
}

export async function showCertificate(
  tools: Tools,
  options: { ca?: string; out?: string },
  serial: string,
): Promise<void> {
  const { out } = options;
  await checkPublicOutput(tools, out, 'CERTIFICATE');
  const one = await tools.client().call('certificate.show', {
    params: { serial: serialOf(serial) },
    query: { ca: options.ca },
  });
  if (out !== undefined) {
    if (one.certificate === null) {
      throw new KeyreeveError('not-found', `of ${one.serial} only the number is known`, {
        hint: 'It was taken over without its certificate.',
      });
    }
    await writePublic(tools, out, one.certificate);
  }
  tools.output.data(one);
  if (out !== '-') printCertificate(tools, one);
}

/** The whole of a certificate, for people. */
function printCertificate(tools: Tools, one: CertificateView): void {
  const now = tools.context.clock.now();
  const ofKey = one.keyVersion === null ? '' : `@${one.keyVersion}`;
  tools.output.details([
    ['serial', one.serial],
    ['subject', one.subject === '' ? undefined : one.subject],
    ['names', one.names.length === 0 ? undefined : one.names.join(' ')],
    ['state', one.state],
    ['revoked', one.revokedAt === null ? undefined : `${one.revokedAt}, ${one.reason}`],
    ['invalid from', one.invalidFrom ?? undefined],
    ['CA', one.ca === null ? 'none of ours' : `${one.ca}@${one.caVersion}`],
    ['profile', one.profile],
    ['from', one.notBefore],
    ['until', `${one.notAfter}, ${formatExpiry(one.notAfter, now)}`],
    ['key', one.key === null ? undefined : `${one.key}${ofKey}`],
    ['sha256', one.fingerprint ?? undefined],
    ['public key sha256', one.keyFingerprint ?? undefined],
    ['issued', `${one.issuedAt} by ${one.issuedBy}`],
    ['id', one.id],
  ]);
}

function filterFromOptions(tools: Tools, options: SearchOptions) {
  const now = tools.context.clock.now();
  const time = (text: string | undefined) =>
    text === undefined ? undefined : parseTime(text, now, 'after');
  const state = certificateStates.find((one) => one === options.state);
  if (options.state !== undefined && state === undefined) {
    throw new KeyreeveError('invalid-request', `"${options.state}" is no state`, {
      hint: `Choose one of: ${certificateStates.join(', ')}.`,
    });
  }
  const { ca, subject, name, key, profile } = options;
  return {
    ca,
    subject,
    name,
    serial: options.serial === undefined ? undefined : serialOf(options.serial),
    key,
    profile,
    state,
    expiresBefore: time(options.expiresBefore),
    expiresAfter: time(options.expiresAfter),
  };
}
