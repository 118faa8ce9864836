// The limit that issuing is held against, in a thread of its own: check the signature of a request,
// write a certificate, sign it. No network, no database, no record, no rules.

import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import type { SchemeName } from '../api/algorithms.ts';
import {
  assembleSigned,
  encodeName,
  encodeTbsCertificate,
  keyIdentifier,
  parseName,
  parseRequest,
} from '../server/x509/x509.ts';

export interface BareOrder {
  readonly requests: readonly Uint8Array[];
  /** PKCS#8 of the issuer, and how it signs. */
  readonly issuerKey: Uint8Array;
  readonly scheme: SchemeName;
  readonly milliseconds: number;
}

const { requests, issuerKey, scheme, milliseconds } = workerData as BareOrder;
const key = createPrivateKey({ key: Buffer.from(issuerKey), type: 'pkcs8', format: 'der' });
const issuer = encodeName(parseName('CN=Bare'));
const authorityKeyId = keyIdentifier(createPublicKey(key).export({ type: 'spki', format: 'der' }));
const inputs = requests.map((bytes) => Buffer.from(bytes));

function issue(der: Buffer, serial: number): Buffer {
  const request = parseRequest(der);
  const subjectKey = createPublicKey({ key: request.spki, type: 'spki', format: 'der' });
  if (!verify('sha256', request.tbs, subjectKey, request.signature)) throw new Error('refused');
  const serialBytes = Buffer.alloc(16, 0x55);
  serialBytes.writeUInt32BE(serial, 12);
  const tbs = encodeTbsCertificate({
    serial: serialBytes,
    scheme,
    issuer,
    subject: request.subject,
    notBefore: 1_800_000_000_000,
    notAfter: 1_830_000_000_000,
    spki: request.spki,
    extensions: {
      keyUsage: ['digitalSignature'],
      extendedKeyUsage: { usages: ['1.3.6.1.5.5.7.3.1'], critical: false },
      subjectAltNames: request.extensions.subjectAltNames ?? [],
      subjectKeyId: keyIdentifier(request.spki),
      authorityKeyId,
    },
  });
  return assembleSigned(tbs, scheme, sign('sha256', tbs, key));
}

let made = 0;
for (const der of inputs.slice(0, 20)) issue(der, 0);
const startedAt = performance.now();
while (performance.now() - startedAt < milliseconds) {
  issue(inputs[made % inputs.length]!, made);
  made += 1;
}
parentPort!.postMessage(made / ((performance.now() - startedAt) / 1000));
