import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { MetricSample } from '../base/metric.ts';

/** Asks the other parts of the service for their figures. */
export type MetricSource = () => readonly MetricSample[] | Promise<readonly MetricSample[]>;

const durationBucketsSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];

/** What is counted of one route. */
export interface RouteMetrics {
  count(status: number, seconds: number): void;
}

/** The figures of the service in the text format of Prometheus. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'route' | 'status'>;
  readonly #seconds: Histogram<'route'>;
  readonly #samples = new Map<string, Counter | Gauge>();
  readonly #source: MetricSource;
  #processMetricsStarted = false;

  constructor(source: MetricSource, requestsInFlight: () => number) {
    this.#source = source;
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: 'keyreeve_http_requests_total',
      help: 'Requests answered, by route and status.',
      labelNames: ['route', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'keyreeve_http_request_seconds',
      help: 'Time from the headers of a request to its answer.',
      labelNames: ['route'],
      buckets: durationBucketsSeconds,
      registers,
    });
    new Gauge({
      name: 'keyreeve_http_requests_in_flight',
      help: 'Requests under way.',
      registers,
      collect() {
        this.set(requestsInFlight());
      },
    });
  }

  /** Looked up once for each route and status: finding labels costs more than counting. */
  route(name: string): RouteMetrics {
    const seconds = this.#seconds.labels(name);
    const byStatus = new Map<number, { inc(): void }>();
    return {
      count: (status, duration) => {
        let counter = byStatus.get(status);
        if (counter === undefined) {
          counter = this.#requests.labels(name, String(status));
          byStatus.set(status, counter);
        }
        counter.inc();
        seconds.observe(duration);
      },
    };
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    if (!this.#processMetricsStarted) {
      // Its timers and observers cost something, so they start with the first question.
      this.#processMetricsStarted = true;
      collectDefaultMetrics({ register: this.#registry });
    }
    for (const sample of await this.#source()) this.#take(sample);
    return this.#registry.metrics();
  }

  #take({ name, help, kind, values }: MetricSample): void {
    let metric = this.#samples.get(name);
    if (metric === undefined) {
      const labelNames = [...new Set(values.flatMap(({ labels }) => Object.keys(labels ?? {})))];
      const configuration = { name, help, labelNames, registers: [this.#registry] };
      metric = kind === 'counter' ? new Counter(configuration) : new Gauge(configuration);
      // A sample without values yet has no labels to be known by.
      if (values.length > 0) this.#samples.set(name, metric);
      else this.#registry.removeSingleMetric(name);
    }
    metric.reset();
    for (const { labels, value } of values) metric.inc(labels ?? {}, value);
  }
}
