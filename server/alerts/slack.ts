import type { Alert } from '../../api/alerts.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';
import { factsOf, headline } from './alert-text.ts';
import { HttpPost } from './http-post.ts';
import type { Sender } from './sender.ts';

/** An incoming webhook of Slack, or of what speaks its form; the URL is the secret. */
export function createSlack(url: SecretBytes, ca: string | undefined): Sender {
  const post = new HttpPost(new URL(url.reveal().toString('utf8')), ca);
  return {
    batchMax: 1,
    send: async ([alert], signal) => {
      if (alert === undefined) return undefined;
      await post.post(Buffer.from(JSON.stringify(slackBody(alert)), 'utf8'), {}, signal);
      return undefined;
    },
    close: () => {
      post.close();
      url[Symbol.dispose]();
    },
  };
}

const shown: readonly string[] = ['who', 'from', 'action', 'outcome', 'about', 'times', 'time'];

/** Without markup: names that others chose neither format nor call anybody. */
export function slackBody(alert: Alert) {
  const facts = factsOf(alert).filter(([name]) => shown.includes(name));
  const lines = [
    `[${alert.severity}] ${headline(alert)}`,
    ...facts.map(([name, value]) => `${name}: ${value}`),
    `entry ${alert.id} of ${alert.installation}`,
  ];
  return { text: lines.map(escaped).join('\n'), mrkdwn: false };
}

/** The three characters that Slack gives a meaning to in any text. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
