/** A bar on standard error for work that takes long; nothing where no terminal is. */
import type { Progress } from '../client/encrypted-file.ts';
import type { CliContext } from './context.ts';

const redrawMilliseconds = 100;
const barWidth = 24;

export interface ProgressBar {
  readonly onProgress: Progress | undefined;
  /** Takes the bar away. */
  end(): void;
}

/** A bar with a title in front. */
export function startProgress(context: CliContext, title: string): ProgressBar {
  const { standardError, clock } = context;
  if (standardError.isTTY !== true) return { onProgress: undefined, end: () => undefined };
  const start = clock.monotonic();
  let drawn = start;
  let isShown = false;
  return {
    onProgress: (done, total) => {
      const now = clock.monotonic();
      // Short work shows no bar at all.
      if (now - drawn < redrawMilliseconds) return;
      drawn = now;
      isShown = true;
      const line = formatProgress(title, done, total, (now - start) / 1000);
      standardError.write(`\r\u001b[K${line}`);
    },
    end: () => {
      if (isShown) standardError.write('\r\u001b[K');
    },
  };
}

/** `encrypting [#####-----] 50 %, 512 MiB, 210 MiB/s`. */
export function formatProgress(
  title: string,
  done: number,
  total: number | undefined,
  seconds: number,
): string {
  const rate = seconds > 0 ? `, ${formatBytes(done / seconds)}/s` : '';
  if (total === undefined || total === 0) return `${title} ${formatBytes(done)}${rate}`;
  const part = Math.min(1, done / total);
  const full = Math.round(part * barWidth);
  const bar = '#'.repeat(full) + '-'.repeat(barWidth - full);
  return `${title} [${bar}] ${Math.floor(part * 100)} %, ${formatBytes(done)}${rate}`;
}

/** Bytes in binary units, with at most one digit after the point. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
