import type { Logger } from 'pino';
import type { keystoreRoutes } from '../../api/routes/keystores.ts';
import type { Authorise } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { MetricSample } from '../base/metric.ts';
import type { Commands } from '../commands/commands.ts';
import type { Keystore, Keystores } from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';
import { createKeystoreHandlers } from './keystore-commands.ts';
import { keystoreSamples } from './keystore-metrics.ts';
import type { ModulePlaces } from './module-rules.ts';
import { KeystoreRegistry } from './registry.ts';
import { KeystoreWatch } from './watch.ts';

export { type ModulePlaces, requireModuleOf } from './module-rules.ts';

export interface HardwareOptions {
  readonly storage: Storage;
  /** Gets the keystores that were added by command, beside those of the configuration. */
  readonly keystores: Keystores;
  readonly clock: Clock;
  readonly log: Logger;
  readonly places: ModulePlaces;
}

/** The keystores that are added by command: tokens of PKCS #11 modules, and groups of two. */
export interface Hardware {
  /** Begins to look at them. `onAvailable` is told when one answers, at first and after a fault. */
  watch(onAvailable: (keystore: Keystore) => Promise<unknown>): void;
  handlers(authorise: Authorise, commands: Commands): Handlers<keyof typeof keystoreRoutes>;
  samples(): readonly MetricSample[];
  /** Ends the modules. */
  stop(): Promise<void>;
}

/**
 * Opens the keystores that are stored. One that does not answer holds up nothing: its keys say
 * `keystore-unavailable` until it does.
 */
export async function openHardware(options: HardwareOptions): Promise<Hardware> {
  const { storage, keystores, clock, log } = options;
  let onAvailable: (keystore: Keystore) => Promise<unknown> = async () => undefined;
  const registry: KeystoreRegistry = new KeystoreRegistry({
    ...options,
    onSwitch: (group, event) => watch.switched(group, event),
  });
  const watch = new KeystoreWatch({
    ...{ registry, storage, clock, log },
    onAvailable: (keystore) => onAvailable(keystore),
  });
  await registry.open();
  return {
    watch: (told) => {
      onAvailable = told;
      watch.start();
    },
    handlers: (authorise, commands) =>
      createKeystoreHandlers({ registry, watch, keystores, storage, clock, authorise }, commands),
    samples: () => keystoreSamples(registry, watch),
    stop: async () => {
      await Promise.all([registry.stop(), watch.stop()]);
    },
  };
}
