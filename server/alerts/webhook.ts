import { createHmac } from 'node:crypto';
import type { Alert } from '../../api/alerts.ts';
import type { Clock } from '../base/clock.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';
import { HttpPost } from './http-post.ts';
import type { Sender } from './sender.ts';

export interface WebhookOptions {
  readonly url: URL;
  readonly ca: string | undefined;
  /** As given: `whsec_` and base64, or the text that is the key itself. */
  readonly secret: SecretBytes;
  readonly clock: Clock;
}

/** Bytes of the key of signatures, after the Standard Webhooks specification. */
export const webhookKeyBytes = { min: 24, max: 64 } as const;
const secretPrefix = 'whsec_';

/** JSON to a URL, signed by the scheme of Standard Webhooks (standardwebhooks.com, version 1). */
export function createWebhook({ url, ca, secret, clock }: WebhookOptions): Sender {
  const post = new HttpPost(url, ca);
  return {
    batchMax: 1,
    send: async ([alert], signal) => {
      if (alert === undefined) return undefined;
      const body = Buffer.from(JSON.stringify(webhookBody(alert)), 'utf8');
      const seconds = String(Math.floor(clock.now() / 1000));
      const signature = signWebhook(secret, alert.id, seconds, body);
      const headers = {
        'webhook-id': alert.id,
        'webhook-timestamp': seconds,
        'webhook-signature': signature,
      };
      await post.post(body, headers, signal);
      return undefined;
    },
    close: () => {
      post.close();
      secret[Symbol.dispose]();
    },
  };
}

/** The body: `type`, `timestamp` and `data`, as the specification proposes. */
export function webhookBody(alert: Alert) {
  return { type: alert.kind, timestamp: alert.time, data: alert };
}

/** `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`. */
export function signWebhook(
  secret: SecretBytes,
  id: string,
  timestamp: string,
  body: Uint8Array,
): string {
  const key = webhookKey(secret.reveal());
  const mac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body);
  return `v1,${mac.digest('base64')}`;
}

/** The bytes of the key: what follows `whsec_` is base64, other text stands for itself. */
export function webhookKey(secret: Buffer): Buffer {
  const text = secret.toString('utf8');
  return text.startsWith(secretPrefix)
    ? Buffer.from(text.slice(secretPrefix.length), 'base64')
    : secret;
}
