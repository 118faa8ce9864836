import type { MetricSample } from '../base/metric.ts';
import type { JobState } from './job-state.ts';

/** How jobs stand, as figures: failures in a row, and how long ago each went well. */
export function jobSamples(jobs: readonly JobState[], now: number): readonly MetricSample[] {
  return [
    {
      name: 'keyreeve_job_failures',
      help: 'Failures in a row of work that repeats.',
      kind: 'gauge',
      values: jobs.map(({ name, failures }) => ({ labels: { job: name }, value: failures })),
    },
    {
      name: 'keyreeve_job_success_age_seconds',
      help: 'Seconds since work that repeats went well; nothing where it has not run yet.',
      kind: 'gauge',
      values: jobs.flatMap(({ name, succeededAt }) => {
        if (succeededAt === null) return [];
        return [{ labels: { job: name }, value: Math.max(0, (now - succeededAt) / 1000) }];
      }),
    },
  ];
}
