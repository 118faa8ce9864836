import { randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { Storage } from '../../storage/storage.ts';
import type { TlsSealer } from './tls-store.ts';

/** A name, an AES key and an HMAC key of 16 octets each: what Node takes for session tickets. */
const ticketKeysBytes = 48;
/** A ticket is good within its period alone: after it a stolen one opens nothing. */
export const ticketPeriodSeconds = 8 * 60 * 60;
const metaName = 'tls-ticket-keys';
const sealLabel = 'tls\nticket-keys';

export interface TicketKeysOptions {
  readonly storage: Storage;
  readonly sealer: TlsSealer;
  readonly clock: Clock;
}

interface TicketKeys {
  readonly period: number;
  readonly keys: Buffer;
}

/**
 * The keys of TLS session tickets (RFC 8446, section 4.6.1; RFC 5077): the same on all nodes, so that
 * a session that began on one is resumed on another. They lie in the database, under the store key,
 * and each period has new ones, drawn by chance, in the place of those before: in TLS 1.2 whoever
 * has them reads all sessions of their time, and nothing that is kept leads back to them.
 * Answers a function that gives the keys of the moment; where a new period has begun it has them
 * fetched, and gives those before until they are there.
 */
export async function openTicketKeys(options: TicketKeysOptions): Promise<() => Buffer> {
  let current = await fetchKeys(options);
  let fetching: Promise<void> | undefined;
  return () => {
    if (current.period !== periodOf(options.clock) && fetching === undefined) {
      // Where the database is away, the next question comes back to it.
      fetching = fetchKeys(options)
        .then((fetched) => {
          if (fetched.period !== current.period) current = fetched;
        })
        .catch(() => undefined)
        .finally(() => {
          fetching = undefined;
        });
    }
    return current.keys;
  };
}

function periodOf(clock: Clock): number {
  return Math.floor(clock.now() / (ticketPeriodSeconds * 1000));
}

/** Made by whichever node is first in a period; one whose clock is behind takes the next one's. */
async function fetchKeys(options: TicketKeysOptions): Promise<TicketKeys> {
  const { storage, clock } = options;
  const period = periodOf(clock);
  const isMeant = (found: TicketKeys | undefined): found is TicketKeys =>
    found?.period === period || found?.period === period + 1;
  const before = await readValue(storage);
  const found = opened(options, before);
  if (isMeant(found)) return found;
  const made = { period, keys: randomBytes(ticketKeysBytes) };
  await replace(storage, before, sealed(options, made));
  const settled = opened(options, await readValue(storage));
  return isMeant(settled) ? settled : made;
}

async function readValue({ db }: Storage): Promise<string | undefined> {
  const query = db.selectFrom('meta').select('value').where('name', '=', metaName);
  return (await query.executeTakeFirst())?.value;
}

/** Writes the keys of a period, unless another node did since. */
async function replace(storage: Storage, before: string | undefined, value: string): Promise<void> {
  const { db } = storage;
  const query =
    before === undefined
      ? db
          .insertInto('meta')
          .values({ name: metaName, value })
          .onConflict((conflict) => conflict.doNothing())
      : db
          .updateTable('meta')
          .set({ value })
          .where('name', '=', metaName)
          .where('value', '=', before);
  await storage.commit({ steps: [{ query: query.compile() }], entries: [] });
}

function sealed({ sealer }: TicketKeysOptions, { period, keys }: TicketKeys): string {
  const bytes = sealer.seal(`${sealLabel}\n${period}`, keys);
  return `${period} ${Buffer.from(bytes).toString('base64')}`;
}

/** What is damaged counts as absent: nothing but a handshake is lost with it. */
function opened({ sealer }: TicketKeysOptions, value = ''): TicketKeys | undefined {
  const [period = '', bytes = ''] = value.split(' ');
  try {
    const keys = sealer.unseal(`${sealLabel}\n${period}`, Buffer.from(bytes, 'base64'));
    return keys.length === ticketKeysBytes
      ? { period: Number(period), keys: Buffer.from(keys) }
      : undefined;
  } catch {
    return undefined;
  }
}
