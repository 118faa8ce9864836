/**
 * A thread that ends the process some time after the service is gone. The main thread does that by
 * itself, but not while the module holds it: then nobody else is left who would.
 */
import { workerData } from 'node:worker_threads';

export interface GuardSettings {
  /** The process of the service. */
  readonly servicePid: number;
  /** What the main thread may take for an orderly end. */
  readonly endMilliseconds: number;
}

const lookMilliseconds = 500;
const { servicePid, endMilliseconds } = workerData as GuardSettings;

const looking = setInterval(() => {
  // An orphan has another parent.
  if (process.ppid === servicePid) return;
  clearInterval(looking);
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), endMilliseconds);
}, lookMilliseconds);
