import { lstatSync } from 'node:fs';
import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import { openSignedCheckpoint } from '../../client/checkpoint.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { readText } from '../files.ts';
import type { RememberedRecord } from '../profile.ts';
import type { Session } from '../session.ts';
import { rememberedOf, rememberIn } from './remembered.ts';

interface VerifyOptions {
  readonly checkpoint?: string;
  readonly logKey?: string;
  readonly trustNewLog?: boolean;
}

interface Kept {
  readonly checkpoint: string | undefined;
  readonly logKey: string | undefined;
}

const textBytesMax = 262_144;

export async function verifyRecord(
  tools: Tools,
  options: VerifyOptions,
  folder?: string,
): Promise<ExitCode> {
  return folder === undefined
    ? await verifyService(tools, options)
    : await verifyFolder(tools, options, folder);
}

async function verifyFolder(
  tools: Tools,
  options: VerifyOptions,
  folder: string,
): Promise<ExitCode> {
  const remembered = rememberedOf(tools.session());
  const { checkpoint, logKey } = await readKept(tools, options, remembered);
  if (checkpoint === undefined || logKey === undefined) {
    throw new KeyreeveError('invalid-request', 'there is no checkpoint or log key of your own', {
      hint: 'Give --checkpoint and --log-key from a place of your own; those in the export prove nothing.',
    });
  }
  const { verifyExport } = await import('../../server/audit/audit.ts');
  const result = await verifyExport(folder, { checkpoint: `${checkpoint}\n`, logKey });
  tools.output.data(result);
  for (const note of result.notes) tools.output.note(note);
  return report(tools, result, 'the export');
}

async function verifyService(tools: Tools, options: VerifyOptions): Promise<ExitCode> {
  const session = tools.session();
  const remembered = rememberedOf(session);
  // What is remembered of the log before a restore says nothing of the new one.
  const kept = await readKept(tools, options, options.trustNewLog ? undefined : remembered);
  const answer = await tools.client().call('audit.verify', {
    body: {
      ...(kept.checkpoint === undefined ? {} : { checkpoint: `${kept.checkpoint}\n` }),
      ...(kept.logKey === undefined ? {} : { logKey: kept.logKey }),
    },
  });
  tools.output.data(answer);
  if (!answer.ok) return report(tools, answer, 'the record');
  remember(tools, session, remembered, kept.logKey, answer, options.trustNewLog === true);
  return report(tools, answer, 'the record');
}

/**
 * Takes over what was verified just now, so that the next time it cannot be taken back. What does
 * not follow from what is remembered is an alarm, and changes nothing.
 */
function remember(
  tools: Tools,
  session: Session,
  before: RememberedRecord | undefined,
  givenLogKey: string | undefined,
  answer: ResponseOf<Routes['audit.verify']>,
  trustNewLog: boolean,
): void {
  const isFirst = before === undefined || trustNewLog;
  const trusted = isFirst ? (givenLogKey ?? answer.logKey) : before.logKey;
  if (!isFirst && answer.origin !== before.origin) {
    throw new KeyreeveError(
      'record-corrupt',
      `the service has another log: ${answer.origin}, and here ${before.origin} is remembered`,
      {
        hint: 'If you restored a backup, take the new log over: keyreeve audit verify --trust-new-log. If not, look into it.',
      },
    );
  }
  const opened = openSignedCheckpoint(answer.checkpoint, trusted);
  if (opened.origin !== answer.origin || (!isFirst && opened.size < before.size)) {
    throw new KeyreeveError(
      'record-corrupt',
      `the record has become shorter: ${opened.size} entries, and ${before?.size} are remembered`,
      { hint: 'Entries were taken away, or an old copy of the database is running. Look into it.' },
    );
  }
  // Without a profile there is nowhere to remember: a token of the environment alone.
  if (session.profile === undefined || !session.isOfProfile) return;
  const { origin, size } = opened;
  const record = { origin, size, checkpoint: answer.checkpoint, logKey: trusted };
  rememberIn(tools, session, record);
  if (before === undefined) tools.output.note(`the log ${origin} is remembered from now on`);
}

async function readKept(
  tools: Tools,
  options: VerifyOptions,
  remembered: RememberedRecord | undefined,
): Promise<Kept> {
  const { checkpoint, logKey } = options;
  return {
    checkpoint:
      checkpoint === undefined
        ? remembered?.checkpoint.trimEnd()
        : await readText(tools.context, checkpoint, textBytesMax),
    logKey: logKey === undefined ? remembered?.logKey : await readLogKey(tools, logKey),
  };
}

/** A key line itself, or the file that holds it. */
async function readLogKey(tools: Tools, given: string): Promise<string> {
  const isFile = given === '-' || lstatSync(given, { throwIfNoEntry: false }) !== undefined;
  if (isFile) return await readText(tools.context, given, textBytesMax);
  if (/^[^\s+]+\+[0-9a-f]{8}\+/.test(given)) return given;
  throw new KeyreeveError('not-found', `${given} is neither a file nor a key line`);
}

interface Found {
  readonly code: string;
  readonly message: string;
  readonly place?: number | undefined;
  /** The id of the entry: as the service calls it, or as the check of an export does. */
  readonly entry?: string | undefined;
  readonly id?: string | undefined;
}

interface Checked {
  readonly ok: boolean;
  readonly size: number;
  readonly withoutOpening: number;
  readonly problems: readonly Found[];
}

function report(tools: Tools, result: Checked, what: string): ExitCode {
  const { output } = tools;
  if (result.ok) {
    const kept =
      result.withoutOpening > 0 ? `, ${result.withoutOpening} of them without their values` : '';
    output.print(`ok: ${what} verifies, ${result.size} entries${kept}`);
    return exitCodes.ok;
  }
  for (const { code, message, place, entry, id = entry } of result.problems) {
    const where = place === undefined ? '' : `place ${place}: `;
    output.print(`${code}: ${where}${id === undefined ? '' : `${id}: `}${message}`);
  }
  throw new KeyreeveError('record-corrupt', `${what} does not verify`, {
    hint: 'Something was changed, dropped or added. Keep what you have, and look into it.',
    data: { problems: result.problems.length },
  });
}
