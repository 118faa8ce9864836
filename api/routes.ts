import type { RouteDefinition } from './route.ts';
import { accessRoutes } from './routes/access.ts';
import { alertRoutes } from './routes/alerts.ts';
import { approvalRoutes } from './routes/approvals.ts';
import { auditRoutes } from './routes/audit.ts';
import { authorityRoutes } from './routes/authorities.ts';
import { certificateRoutes } from './routes/certificates.ts';
import { keyRoutes } from './routes/keys.ts';
import { keystoreRoutes } from './routes/keystores.ts';
import { systemRoutes } from './routes/system.ts';
import { useRoutes } from './routes/use.ts';

/** Every route of the native API, by its operation id. */
export const routes = {
  ...keyRoutes,
  ...useRoutes,
  ...authorityRoutes,
  ...certificateRoutes,
  ...keystoreRoutes,
  ...accessRoutes,
  ...alertRoutes,
  ...approvalRoutes,
  ...auditRoutes,
  ...systemRoutes,
} as const satisfies Record<string, RouteDefinition>;

export type Routes = typeof routes;
export type RouteId = keyof Routes;
