/** The figures as JSON for programs and as Markdown for people. */
import type { CrlRow, IssuingRow } from './certificates.ts';
import type { HandshakeRow } from './handshakes.ts';
import type { MachineFacts } from './machine.ts';
import type { KeysFigures, KeysRow } from './many-keys.ts';
import type { CallRow, PrimitiveRow } from './measure.ts';
import { batchItems } from './primitives.ts';
import type { SideBySideRow } from './side-by-side.ts';

/** The part of the yardstick that a call has to reach. */
export const targetRatio = 0.85;
/** Certificates that are stored and recorded, against checking and signing alone. */
export const issuingTargetRatio = 0.5;
export const readyTargetSeconds = 1;
/** A thousand keys of a million, against a thousand of a thousand. */
export const keysTargetRatio = 0.9;

export interface Results {
  readonly time: string;
  readonly version: string;
  readonly machine: MachineFacts;
  readonly rows: readonly PrimitiveRow[];
  readonly issuing: readonly IssuingRow[];
  readonly crl: CrlRow | undefined;
  readonly connections: HandshakeRow | undefined;
  readonly keys: KeysRow | undefined;
  readonly workers: SideBySideRow | undefined;
  readonly start: {
    /** From starting the process to `ready`, median. */
    readonly readySeconds: number;
    readonly starts: number;
    readonly residentMebibytes: number | undefined;
    readonly residentAfterLoadMebibytes: number | undefined;
  };
  readonly record: { readonly entries: number; readonly entriesPerSecond: number };
  readonly seconds: number;
}

export function toMarkdown(results: Results): string {
  const { machine, rows, start, record } = results;
  const ready = start.readySeconds;
  const lines = [
    `Keyreeve ${results.version}, ${results.time}: ${machine.cores} × ${machine.processor}, ` +
      `${machine.system}, Node ${machine.node} (OpenSSL ${machine.opensslOfNode}), R by ` +
      `${machine.opensslProgram.split(' (')[0]}, ${machine.flushMilliseconds.toFixed(2)} ms for a flush to disk.`,
    '',
    ...callTable(rows),
    ...issuingTable(results.issuing),
    ...table([
      ['', 'measured', 'target'],
      [
        `time to ready, median of ${start.starts}`,
        `${ready.toFixed(2)} s`,
        `≤ ${readyTargetSeconds} s: ${verdict(ready <= readyTargetSeconds)}`,
      ],
      ['resident memory after start', memory(start.residentMebibytes), ''],
      ['resident memory after the load', memory(start.residentAfterLoadMebibytes), ''],
      ...crlLines(results.crl),
      ...connectionLines(results.connections),
      ['record entries written', String(record.entries), ''],
      ...rows.map((row) => [
        `record behind after single calls, ${row.title}`,
        `${row.record.tailEntries} entries, placed in ${row.record.drainSeconds.toFixed(1)} s`,
        '',
      ]),
    ]),
    '',
    ...keysTable(results.keys),
    ...workersLines(results.workers),
    `The run took ${Math.round(results.seconds)} s.`,
  ];
  return `${lines.join('\n')}\n`;
}

function callTable(rows: readonly PrimitiveRow[]): string[] {
  if (rows.length === 0) return [];
  return [
    ...table([
      [
        '',
        'R',
        'E',
        'yardstick',
        'measured',
        'ratio',
        `≥ ${targetRatio}`,
        'connections',
        'p50',
        'p99',
        'CPU',
      ],
      ...rows.flatMap((row) => [
        callLine(`${row.title}, single`, row, row.single, 1),
        callLine(`${row.title}, batch of ${batchItems}`, row, row.batch, batchItems),
      ]),
    ]),
    '',
    'R, E, yardstick and measured are operations a second; p50 and p99 are of one request; CPU is',
    'processor time of the service for one operation. The record was on throughout.',
    '',
  ];
}

function issuingTable(rows: readonly IssuingRow[]): string[] {
  if (rows.length === 0) return [];
  const head = ['', 'bare', 'measured', 'ratio', `≥ ${issuingTargetRatio}`];
  const line = (title: string, row: IssuingRow, kind: 'single' | 'batch') => {
    const figures = row[kind];
    const cpu = figures.serverCpuMicroseconds;
    return [
      title,
      count(row.barePerSecond),
      count(figures.perSecond),
      figures.ratio.toFixed(2),
      verdict(figures.ratio >= issuingTargetRatio),
      String(figures.connections),
      `${figures.p50Milliseconds.toFixed(1)} ms`,
      `${figures.p99Milliseconds.toFixed(1)} ms`,
      cpu === undefined ? '' : `${cpu.toFixed(0)} µs`,
    ];
  };
  return [
    ...table([
      [...head, 'connections', 'p50', 'p99', 'CPU'],
      ...rows.flatMap((row) => [
        line(`${row.title}, single`, row, 'single'),
        line(`${row.title}, batch of ${batchItems}`, row, 'batch'),
      ]),
    ]),
    '',
    'Certificates a second from requests, stored and recorded. Bare: check the signature of the',
    'request, write the certificate, sign it, on all cores, and nothing else.',
    '',
  ];
}

function crlLines(crl: CrlRow | undefined): string[][] {
  if (crl === undefined) return [];
  const size = `${count(crl.entries)} entries, ${(crl.bytes / 1e6).toFixed(1)} MB`;
  return [
    [`CRL of ${size}: made and fetched in`, `${crl.publishSeconds.toFixed(2)} s`, ''],
    ['longest wait of another call meanwhile', `${crl.longestCallMilliseconds.toFixed(0)} ms`, ''],
  ];
}

function workersLines(row: SideBySideRow | undefined): string[] {
  if (row === undefined) return [];
  const two = count(row.twoPerSecond);
  return [
    `Two services that share nothing make ${two} calls a second (${row.title}), one makes ${count(row.onePerSecond)}: ${row.ratio.toFixed(2)}.`,
    '',
  ];
}

function connectionLines(row: HandshakeRow | undefined): string[][] {
  if (row === undefined) return [];
  return (['fresh', 'resumed'] as const).map((kind) => {
    const { perSecond, serverCpuMicroseconds: cpu } = row[kind];
    const title =
      kind === 'fresh' ? 'new connections, one call each' : 'the same, sessions taken up';
    return [title, `${count(perSecond)} a second`, cpu === undefined ? '' : `${cpu.toFixed(0)} µs`];
  });
}

function keysTable(row: KeysRow | undefined): string[] {
  if (row === undefined) return [];
  const { smaller, larger, ratio, readySeconds } = row;
  const cpu = ({ serverCpuMicroseconds: used }: KeysFigures) =>
    used === undefined ? '' : `${used.toFixed(0)} µs`;
  const first = ({ firstCallMilliseconds }: KeysFigures) =>
    `${firstCallMilliseconds.toFixed(1)} ms`;
  const used = count(row.workingKeys);
  return [
    ...table([
      ['', `of ${used} keys`, `of ${count(row.keys)} keys`, 'target'],
      [
        `calls a second with ${used} keys (AES-256, 1 KiB)`,
        count(smaller.perSecond),
        count(larger.perSecond),
        `ratio ${ratio.toFixed(2)}, ≥ ${keysTargetRatio}: ${verdict(ratio >= keysTargetRatio)}`,
      ],
      ['CPU of a call', cpu(smaller), cpu(larger), ''],
      ['the first call of a key', first(smaller), first(larger), ''],
      [
        'time to ready',
        '',
        `${readySeconds.toFixed(2)} s`,
        verdict(readySeconds <= readyTargetSeconds),
      ],
      ['resident memory after start', '', memory(row.residentMebibytes), ''],
      ...row.answers.map(({ title, milliseconds }) => [
        title,
        '',
        `${milliseconds.toFixed(1)} ms`,
        '',
      ]),
    ]),
    '',
    `Making ${count(row.keys)} keys took ${Math.round(row.fillSeconds)} s; the database has ${row.databaseMebibytes} MiB.`,
    '',
  ];
}

function callLine(title: string, row: PrimitiveRow, call: CallRow, items: number): string[] {
  const cpu = call.serverCpuMicrosecondsPerItem;
  return [
    title,
    count(row.opensslPerSecond),
    items === 1 ? count(row.emptyPerSecond) : '',
    count(call.yardstick),
    count(call.itemsPerSecond),
    call.ratio.toFixed(2),
    verdict(call.ratio >= targetRatio),
    String(call.connections),
    `${call.p50Milliseconds.toFixed(1)} ms`,
    `${call.p99Milliseconds.toFixed(1)} ms`,
    cpu === undefined ? '' : `${cpu.toFixed(0)} µs`,
  ];
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'missed';
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function memory(mebibytes: number | undefined): string {
  return mebibytes === undefined ? 'not known here' : `${mebibytes} MiB`;
}

/** Columns as wide as their widest cell; all but the first to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, index) => Math.max(3, ...rows.map((row) => row[index]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, index) => (index === 0 ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!))).join(' | ')} |`;
  const rule = `|${widths.map((width, index) => `${'-'.repeat(width + 1)}${index === 0 ? '-' : ':'}`).join('|')}|`;
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)];
}
