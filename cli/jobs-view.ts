import type { ResponseOf } from '../api/route.ts';
import type { Routes } from '../api/routes.ts';
import type { Output } from './output.ts';

type JobStatus = ResponseOf<Routes['status']>['jobs'][number];

/** What the service does by itself: failing work first, so that nobody has to look for it. */
export function printJobs(output: Output, jobs: readonly JobStatus[]): void {
  if (jobs.length === 0) return;
  const sorted = [...jobs].sort((one, other) => other.failures - one.failures);
  output.print('');
  output.table(
    ['JOB', 'ON', 'WENT WELL', 'NEXT', 'FAILURES', 'REASON'],
    sorted.map((job) => [
      job.name,
      job.scope === 'each-node' ? 'each node' : (job.node ?? '-'),
      job.succeededAt ?? '-',
      job.nextAt ?? '-',
      String(job.failures),
      job.reason ?? '',
    ]),
  );
}
