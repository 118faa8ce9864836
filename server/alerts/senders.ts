import type { Clock } from '../base/clock.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import type { Sealer } from '../commands/commands.ts';
import { createMail } from './mail.ts';
import type { Sender } from './sender.ts';
import { createSlack } from './slack.ts';
import { createSyslog } from './syslog.ts';
import type { Target } from './target.ts';
import { mailPlace, syslogPlace } from './target-rules.ts';
import { secretLabel } from './target-store.ts';
import { createWebhook } from './webhook.ts';

/** The way to tell a target; its secret is opened here and lies in the sender until it is closed. */
export function createSender(target: Target, sealer: Sealer, clock: Clock): Sender {
  const { address, from, to } = target.settings;
  const ca = target.settings.ca ?? undefined;
  const secret = openSecret(target, sealer);
  switch (target.kind) {
    case 'webhook':
      return createWebhook({ url: new URL(address), ca, secret: secret!, clock });
    case 'slack':
      return createSlack(secret!, ca);
    case 'syslog':
      return createSyslog({ ...syslogPlace(address), ca });
    case 'mail':
      return createMail({ ...mailPlace(address), password: secret, from: from!, to: to!, ca });
  }
}

function openSecret(target: Target, sealer: Sealer): SecretBytes | undefined {
  if (target.secret === null) return undefined;
  return new SecretBytes(sealer.unseal(secretLabel(target.id), target.secret));
}
