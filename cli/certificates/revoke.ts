import { revocationReasonNames } from '../../api/revocation-reasons.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { confirmByName } from '../confirm.ts';
import { parseTime } from '../durations.ts';
import { collectPages, type PageOptions } from '../pages.ts';
import { asDigest, readPublicPem } from './key-file.ts';
import { serialOf } from './serial.ts';

interface RevokeOptions {
  readonly ca?: string;
  readonly reason?: string;
  readonly invalidFrom?: string;
}

export async function revokeCertificate(
  tools: Tools,
  options: RevokeOptions,
  serial: string,
): Promise<void> {
  const { invalidFrom } = options;
  const reason = revocationReasonNames.find((one) => one === options.reason);
  if (options.reason !== undefined && reason === undefined) {
    throw new KeyreeveError('invalid-request', `"${options.reason}" is no reason`, {
      hint: `Choose one of: ${revocationReasonNames.join(', ')}.`,
    });
  }
  const one = await tools.client().call('certificate.revoke', {
    params: { serial: serialOf(serial) },
    body: {
      ca: options.ca,
      reason,
      invalidFrom:
        invalidFrom === undefined
          ? undefined
          : parseTime(invalidFrom, tools.context.clock.now(), 'before'),
    },
  });
  const { output } = tools;
  output.data(one);
  output.note(`revoked ${one.serial} (${one.subject}), ${one.reason}${dueText(one.crlDueAt)}`);
  if (one.reason === 'certificateHold') {
    output.note(`it can be taken back: keyreeve cert release ${one.serial}`);
  }
  if (one.ca !== null) output.note(`next: keyreeve crl get --ca ${one.ca} --out FILE`);
}

export async function releaseCertificate(
  tools: Tools,
  options: { ca?: string },
  serial: string,
): Promise<void> {
  const one = await tools.client().call('certificate.release', {
    params: { serial: serialOf(serial) },
    body: { ca: options.ca },
  });
  tools.output.data(one);
  tools.output.note(`${one.serial} (${one.subject}) is ${one.state}${dueText(one.crlDueAt)}`);
}

function dueText(crlDueAt: string | null): string {
  return crlDueAt === null ? '' : `; the CRL that says so is due at ${crlDueAt}`;
}

interface PurgeOptions {
  readonly ca: string;
  readonly expiredBefore: string;
  readonly yes?: boolean;
}

export async function purgeCertificates(tools: Tools, options: PurgeOptions): Promise<void> {
  const { ca } = options;
  const now = tools.context.clock.now();
  const expiredBefore = parseTime(options.expiredBefore, now, 'before');
  if (options.yes !== true) {
    const warning = `The certificates of ${ca} that expired before ${expiredBefore} will be forgotten.`;
    await confirmByName(tools.context, ca, warning);
  }
  const request = { body: { ca, expiredBefore } };
  const answer = await tools.client().call('certificate.purge', request);
  tools.output.data(answer);
  tools.output.note(`forgot ${answer.purged} certificates of ${ca}`);
}

export async function blockKey(
  tools: Tools,
  options: { reason: string },
  digestOrFile: string,
): Promise<void> {
  const key = asDigest(digestOrFile) ?? (await readPublicPem(tools, digestOrFile));
  const request = { body: { key, reason: options.reason } };
  const blocked = await tools.client().call('certificate.block-key', request);
  tools.output.data(blocked);
  tools.output.note(`no certificate will hold the key ${blocked.fingerprint} from now on`);
  if (blocked.certificates > 0) {
    tools.output.note(
      `note: ${blocked.certificates} certificates hold it: keyreeve cert list --key ${blocked.fingerprint}`,
    );
  }
}

export async function listBlockedKeys(tools: Tools, options: PageOptions): Promise<void> {
  const client = tools.client();
  const list = await collectPages(tools.output, options, (page) =>
    client.call('certificate.blocked-keys', { query: page }),
  );
  tools.output.data(list);
  tools.output.table(
    ['PUBLIC KEY SHA256', 'SINCE', 'REASON'],
    list.items.map((one) => [one.fingerprint, one.createdAt, one.reason]),
  );
}

export async function unblockKey(tools: Tools, _options: unknown, text: string): Promise<void> {
  const fingerprint = asDigest(text);
  if (fingerprint === undefined) {
    throw new KeyreeveError('invalid-request', `"${text}" is no SHA-256 of a public key`, {
      hint: 'Give it as "keyreeve cert blocked-keys" prints it.',
    });
  }
  const answer = await tools.client().call('certificate.unblock-key', { params: { fingerprint } });
  tools.output.data(answer);
  tools.output.note(`the key ${answer.fingerprint} may be certified again`);
}
