import type { Logger } from 'pino';
import type { keystoreRoutes } from '../../api/routes/keystores.ts';
import type { Authorise } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { MetricSample } from '../base/metric.ts';
import type { Commands } from '../commands/commands.ts';
import type { Keystore, Keystores } from '../keystores/keystores.ts';
import type { Step, Storage } from '../storage/storage.ts';
import type { Rights } from './access-list.ts';
import { createKeystoreHandlers } from './keystore-commands.ts';
import { keystoreSamples } from './keystore-metrics.ts';
import { keystoreStands } from './keystore-rows.ts';
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
  handlers(
    authorise: Authorise,
    commands: Commands,
    rights: Rights,
  ): Handlers<keyof typeof keystoreRoutes>;
  samples(): readonly MetricSample[];
  /** Steps that fail where a keystore was removed meanwhile, on whichever node. */
  standing(name: string): readonly Step[];
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
    onDropped: (name) => watch.forget(name),
  });
  const watch = new KeystoreWatch({
    ...{ registry, storage, clock, log },
    onAvailable: (keystore) => onAvailable(keystore),
  });
  await registry.sync();
  // What another node adds is used here from then on. Where this fails, the watch comes back to it.
  storage.onEpoch(() => void registry.sync().catch(() => undefined));
  return {
    watch: (told) => {
      onAvailable = told;
      watch.start();
    },
    handlers: (authorise, commands, rights) =>
      createKeystoreHandlers(
        { registry, watch, keystores, storage, clock, authorise, rights },
        commands,
      ),
    standing: (name) => (registry.find(name) === undefined ? [] : [keystoreStands(storage, name)]),
    samples: () => keystoreSamples(registry, watch),
    stop: async () => {
      await Promise.all([registry.stop(), watch.stop()]);
    },
  };
}
