import type { Logger } from 'pino';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { serviceEntry } from '../commands/commands.ts';
import {
  healthWithin,
  type Keystore,
  KeystoreGroup,
  type KeystoreHealth,
  type MemberSwitch,
} from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';
import { updateKeystore } from './keystore-rows.ts';
import type { KeystoreRegistry, LiveKeystore } from './registry.ts';

export interface WatchOptions {
  readonly registry: KeystoreRegistry;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told when a keystore answers for the first time, or again. */
  readonly onAvailable: (keystore: Keystore) => Promise<unknown>;
}

const lookMilliseconds = 1000;
/** A keystore that says nothing for so long does not answer. */
const healthMilliseconds = 3000;
/** Switches that wait to be recorded, while the database does not answer. */
const waitingSwitchesMax = 1000;

/**
 * Looks at each keystore again and again, so that the record tells when a token went and when it
 * came back, and so that modules are loaded before they are needed. One that hangs holds up no
 * other.
 */
export class KeystoreWatch {
  readonly #options: WatchOptions;
  readonly #health = new Map<string, KeystoreHealth>();
  readonly #looking = new Map<string, Promise<void>>();
  readonly #announced = new Set<string>();
  readonly #switches: { readonly group: string; readonly event: MemberSwitch; at: number }[] = [];
  #recording: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#look();
    this.#timer = setInterval(() => this.#look(), lookMilliseconds).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#looking.values(), this.#recording]);
  }

  /** What was found last; undefined before the first look. */
  health(name: string): KeystoreHealth | undefined {
    return this.#health.get(name);
  }

  forget(name: string): void {
    this.#health.delete(name);
    this.#announced.delete(name);
  }

  /** Puts a change of sides on the record, as soon as that can be written. */
  switched(group: string, event: MemberSwitch): void {
    const { log, clock } = this.#options;
    log.warn({ keystore: group, ...event }, 'keystore group changed sides');
    if (this.#switches.length >= waitingSwitchesMax) this.#switches.shift();
    this.#switches.push({ group, event, at: clock.now() });
    void this.#record();
  }

  #look(): void {
    if (this.#switches.length > 0) void this.#record();
    void this.#options.registry.syncAgain().catch(() => undefined);
    for (const live of this.#options.registry.all()) {
      const { name } = live.record;
      if (this.#looking.has(name)) continue;
      const look = this.#lookAt(live)
        .catch((error: unknown) => {
          this.#options.log.error({ err: error, keystore: name }, 'looking at a keystore failed');
        })
        .finally(() => this.#looking.delete(name));
      this.#looking.set(name, look);
    }
  }

  async #lookAt({ record: { name }, keystore }: LiveKeystore): Promise<void> {
    const health = await healthWithin(keystore, healthMilliseconds);
    // It may have been removed meanwhile.
    const live = this.#options.registry.find(name);
    if (live?.keystore !== keystore) return;
    this.#health.set(name, health);
    await this.#noteRefusedPin(live);
    if (health.ready !== live.record.isAvailable) await this.#alert(name, health);
    if (!health.ready) this.#announced.delete(name);
    else if (!this.#announced.has(name)) {
      await this.#options.onAvailable(keystore);
      this.#announced.add(name);
    }
  }

  async #alert(name: string, health: KeystoreHealth): Promise<void> {
    const { storage, clock, log, registry } = this.#options;
    const reason = health.reason ?? 'It answers.';
    const [action, outcome] = health.ready
      ? (['keystore.available', 'ok'] as const)
      : (['keystore.unavailable', 'keystore-unavailable'] as const);
    if (health.ready) log.info({ keystore: name }, 'keystore answers again');
    else log.error({ keystore: name, reason }, 'keystore does not answer');
    await storage.commit({
      steps: [updateKeystore(storage, name, { isAvailable: health.ready })],
      entries: [
        serviceEntry(clock, action, outcome, { resource: name, detail: canonicalJson({ reason }) }),
      ],
    });
    registry.note(name, { isAvailable: health.ready });
  }

  /** A PIN that was refused is not tried by the next start of the service either. */
  async #noteRefusedPin({ record, keystore }: LiveKeystore): Promise<void> {
    if (record.kind !== 'pkcs11' || keystore instanceof KeystoreGroup) return;
    const { refusedPin } = keystore;
    if (refusedPin === record.refusedPin) return;
    const { storage, registry } = this.#options;
    const steps = [updateKeystore(storage, record.name, { refusedPin })];
    await storage.commit({ steps, entries: [] });
    registry.note(record.name, { refusedPin });
  }

  #record(): Promise<void> {
    this.#recording ??= this.#recordSwitches().finally(() => {
      this.#recording = undefined;
    });
    return this.#recording;
  }

  async #recordSwitches(): Promise<void> {
    const { storage, log } = this.#options;
    for (let first = this.#switches[0]; first !== undefined; first = this.#switches[0]) {
      const { group, event } = first;
      const action = event.to === 'primary' ? 'keystore.failback' : 'keystore.failover';
      const { from, member: to, reason } = event;
      const detail = canonicalJson({ from, to, reason });
      try {
        const entry = serviceEntry({ ...systemClock, now: () => first.at }, action, 'ok', {
          resource: group,
          detail,
        });
        await storage.commit({ steps: [], entries: [entry] });
      } catch (error) {
        log.error({ err: error, keystore: group }, 'a change of sides is not on the record yet');
        return;
      }
      this.#switches.shift();
    }
  }
}
