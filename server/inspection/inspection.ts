export { type AuditRoutesOptions, createAuditHandlers } from './audit-routes.ts';
export { createStatusHandler, type StatusOptions } from './status.ts';
