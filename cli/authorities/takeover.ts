/** Taking over a CA that was run elsewhere: its key, what it issued, what it revoked. */
import { X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { type CaView, pemLengthMax } from '../../api/routes/authorities.ts';
import type { ApiClient } from '../../client/api-client.ts';
import { isKeyreeveError, KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { readInput, readPassphrase, refuseSharedInput } from '../files.ts';
import { type ProgressBar, startProgress } from '../progress.ts';
import { type NewCaOptions, newCaFromOptions } from './make.ts';
import { printNotes } from './options.ts';
import {
  certificateFiles,
  certificatePortions,
  indexPortions,
  type Portion,
  TakeoverCounts,
} from './takeover-portions.ts';
import {
  findSources,
  newestCrlNumber,
  type SourceOptions,
  type TakeoverSources,
} from './takeover-sources.ts';

interface ImportOptions extends NewCaOptions, SourceOptions {
  readonly passphraseFile?: string;
}

type Added = { added: number; completed: number; known: number };

/**
 * Sends key and certificate, then the index, then the certificates, and ends the take-over with
 * the counts that were seen. What was interrupted goes on when the command is run again.
 */
export async function importCa(tools: Tools, options: ImportOptions, name: string): Promise<void> {
  const { output } = tools;
  const sources = findSources(output, options);
  const pem = (await readPem(tools, sources.certificate)).toString('utf8');
  const certificate = firstCertificate(pem, sources.certificate);
  // Files that are not there are found before anything is sent.
  const { files, bytes } = certificateFiles(sources.certificates);
  const indexBytes = sources.index === undefined ? 0 : statSync(sources.index).size;

  // Step 1: the CA itself.
  const client = tools.client();
  await begin(tools, client, options, { name, pem, certificate, sources });

  // Step 2: what it issued and revoked.
  const counts = new TakeoverCounts();
  const total = { added: 0, completed: 0, known: 0 };
  if (sources.index !== undefined) {
    const portions = indexPortions(sources.index, counts);
    await sendAll(tools, 'sending the index', indexBytes, portions, async (index) =>
      addTo(total, await call(client, name, { index })),
    );
  }
  if (files.length > 0) {
    const portions = certificatePortions(files, certificate, counts);
    await sendAll(tools, 'sending certificates', bytes, portions, async (certificates) =>
      addTo(total, await call(client, name, { certificates })),
    );
  }

  // Step 3: the end, which the service refuses where something is missing.
  const { issued, revoked } = counts;
  const request = { params: { ca: name }, body: { issued, revoked } };
  const ca = await client.call('ca.import-finish', request);
  output.data(ca);
  output.note(
    `took over ${name}: ${issued} certificates, ${revoked} of them revoked (${total.added} added, ${total.completed} completed, ${total.known} known before)`,
  );
  if (counts.foreign > 0) {
    output.note(`note: ${counts.foreign} certificates are not of this CA and were left out`);
  }
  if (sources.index === undefined) {
    output.note('note: without an index nothing is known of what it revoked');
  }
  printNotes(tools, ca.notes);
  if (sources.key !== undefined) {
    output.note(
      `note: ${sources.key} still holds the private key: destroy it when all is well here`,
    );
  }
  output.note(`next: keyreeve crl get --ca ${name} --out FILE`);
}

interface Beginning {
  readonly name: string;
  readonly pem: string;
  readonly certificate: X509Certificate;
  readonly sources: TakeoverSources;
}

async function begin(
  tools: Tools,
  client: ApiClient,
  options: ImportOptions,
  what: Beginning,
): Promise<void> {
  const { name, sources } = what;
  refuseSharedInput(sources.key, sources.certificate, options.passphraseFile);
  const crlNumber = await newestCrlNumber(tools.context, sources.crlNumber);
  const key = sources.key === undefined ? undefined : await readPem(tools, sources.key);
  using passphrase =
    options.passphraseFile === undefined
      ? undefined
      : await readPassphrase(tools.context, options.passphraseFile);
  try {
    const ca = await client.call('ca.import', {
      body: {
        name,
        key: key?.toString('utf8'),
        object: options.object,
        objectId: options.objectId,
        certificate: what.pem,
        crlNumber,
        ...newCaFromOptions(options),
        ...(passphrase === undefined ? {} : { passphrase: passphrase.reveal().toString('utf8') }),
      },
    });
    tools.output.note(`took in the key and the certificate of ${ca.subject}`);
  } catch (error) {
    if (!isKeyreeveError(error, 'already-exists')) throw error;
    // Its name may be free, and its subject or its key be what is there already.
    const ca = await client.call('ca.show', { params: { ca: name } }).catch(() => undefined);
    if (ca === undefined || !isSame(ca, what.certificate)) throw error;
    tools.output.note(`the take-over of ${name} had begun: it goes on`);
  } finally {
    key?.fill(0);
  }
}

/** Whether it is the CA of that certificate, and still being taken over. */
function isSame(ca: CaView, certificate: X509Certificate): boolean {
  const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
  return ca.state === 'importing' && ca.versions.some((one) => one.fingerprint === fingerprint);
}

async function sendAll(
  tools: Tools,
  title: string,
  bytes: number,
  portions: AsyncIterable<Portion>,
  send: (text: string) => Promise<void>,
): Promise<void> {
  const bar: ProgressBar = startProgress(tools.context, title);
  let done = 0;
  try {
    for await (const portion of portions) {
      try {
        await send(portion.text);
      } catch (error) {
        bar.end();
        tools.output.note(`note: this is about what begins with ${portion.from}`);
        throw error;
      }
      done += portion.bytesRead;
      bar.onProgress?.(done, bytes);
    }
  } finally {
    bar.end();
  }
}

function call(
  client: ApiClient,
  name: string,
  body: { index?: string; certificates?: string },
): Promise<Added> {
  return client.call('ca.import-certificates', { params: { ca: name }, body });
}

function addTo(total: { -readonly [Name in keyof Added]: number }, more: Added): void {
  total.added += more.added;
  total.completed += more.completed;
  total.known += more.known;
}

function readPem(tools: Tools, path: string): Promise<Buffer> {
  return readInput(tools.context, path, {
    bytesMax: pemLengthMax,
    tooLargeHint: 'Name a PEM file with one key, or with one certificate and those above it.',
  });
}

function firstCertificate(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem.slice(Math.max(0, pem.indexOf('-----BEGIN CERTIFICATE-----'))));
  } catch (error) {
    throw new KeyreeveError('certificate-malformed', `${path} holds no certificate`, {
      hint: 'Name a PEM file with the certificate of the CA.',
      cause: error,
    });
  }
}
