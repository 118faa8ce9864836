export { type AuditRoutesOptions, createAuditHandlers } from './audit-routes.ts';
export { ServiceMetrics } from './metrics.ts';
export { createStatusHandler, type StatusOptions } from './status.ts';
