/** What the tests of this folder share: CAs that publish, over a real database. */

import { generateKeyPairSync, sign } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { StreamAnswer } from '../../base/handler.ts';
import { pemText } from '../../base/pem.ts';
import type { TestKeysOptions } from '../../keys/testing.ts';
import { assembleSigned, type Crl, encodeName, encodeRequest, parseCrl } from '../../x509/x509.ts';
import { openTestCertificates } from '../certificates/certificates.fixture.ts';
import { askOf } from '../pki.fixture.ts';
import type { SignByVersion } from './make-crl.ts';
import { Publication } from './publication.ts';

/** Publication over CAs of a test; `signing` stands between it and the keys. */
export async function openTestPublication(
  t: TestContext,
  options: TestKeysOptions & {
    readonly signing?: (sign: SignByVersion) => SignByVersion;
    readonly waitSeconds?: number;
  } = {},
) {
  const test = await openTestCertificates(options);
  const { storage, clock, authorities, keys } = test;
  const logged: { fields: Record<string, unknown>; message: string }[] = [];
  const write = (fields: object, message: string) => {
    logged.push({ fields: fields as Record<string, unknown>, message });
  };
  const clocked = { isUnsafe: false };
  const byKeys: SignByVersion = (version, scheme, data) => keys.sign(version, scheme, data);
  const publication = new Publication({
    ...{ storage, clock, authorities },
    log: { info: write, warn: write },
    isClockUnsafe: () => clocked.isUnsafe,
    sign: options.signing?.(byKeys) ?? byKeys,
    ...(options.waitSeconds === undefined ? {} : { freshWaitSeconds: options.waitSeconds }),
  });
  const handlers = publication.handlers(test.commands);
  const ask = askOf(handlers, test.caller);
  await publication.start();
  t.after(async () => {
    await publication.stop();
    await test.close();
  });
  return {
    ...test,
    publication,
    logged,
    /** Whether time can be trusted. */
    clocked,
    /** A round of the schedule, to its end. */
    round: async () => {
      const rounds = await Promise.allSettled([publication.refresh(), publication.publishDue()]);
      await publication.idle();
      const failed = rounds.find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
    },
    /** The newest CRL as anybody gets it. */
    crl: async (ca: string, query: object = {}): Promise<Crl> => {
      const answer = (await ask('crl.get', { params: { ca }, query })) as StreamAnswer;
      const pieces: Uint8Array[] = [];
      for await (const piece of answer.body) pieces.push(piece);
      return parseCrl(Buffer.concat(pieces));
    },
    publish: (ca: string, body: object = {}, idempotencyKey?: string) =>
      ask('crl.publish', {
        params: { ca },
        body,
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      }),
    /** Issues a certificate for a fresh key and answers its serial number. */
    issued: async (ca: string, more: object = {}): Promise<string> => {
      const body = { ca, profile: 'tls-client', csr: freshRequest(), ...more };
      return (await test.issue(body)).serial;
    },
    state: async (ca: string, version = 1) => {
      const { key } = (await authorities.find(ca))!;
      return storage.db
        .selectFrom('ca_version')
        .select(['crl_number', 'crl_due_at', 'crl_published_at'])
        .where('key_id', '=', key.id)
        .where('version', '=', version)
        .executeTakeFirstOrThrow();
    },
  };
}

/** A request (PEM) for a fresh key, signed by it. */
export function freshRequest(commonName = 'somebody'): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const subject = encodeName([[{ type: '2.5.4.3', value: commonName }]]);
  const tbs = encodeRequest(subject, {}, spki);
  const signature = sign('sha256', tbs, privateKey);
  return pemText('CERTIFICATE REQUEST', assembleSigned(tbs, 'ecdsa-sha256', signature));
}

/** The serial numbers on a CRL, as the API writes them. */
export function serialsOf({ entries }: Crl): string[] {
  return entries.map(({ serial }) => serial.toString('hex')).sort();
}
