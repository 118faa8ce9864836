import type { Clock } from '../../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';

export const memberRoles = ['primary', 'secondary'] as const;
export type MemberRole = (typeof memberRoles)[number];

/** A member, as far as the switch needs to know it. */
export interface FailoverMember {
  readonly name: string;
  /** Grows with every call that the member answers: one that is busy is not one that is away. */
  progress(): number;
  /** Whether its module is loaded for the first time, which takes longer than a use. */
  isStarting(): boolean;
  health(): Promise<{ readonly ready: boolean; readonly reason: string | undefined }>;
}

/** The work of a group went from one member to the other. */
export interface MemberSwitch {
  readonly to: MemberRole;
  readonly from: string;
  readonly member: string;
  readonly reason: string;
}

export interface FailoverOptions {
  readonly group: string;
  readonly members: Readonly<Record<MemberRole, FailoverMember>>;
  /** A member that has work and answers nothing for so long is away. */
  readonly deadlineSeconds: number;
  readonly clock: Clock;
  readonly onSwitch: (event: MemberSwitch) => void;
}

const watchMilliseconds = 50;
/** A watch that comes so late says that this process stood still, not the member. */
const lateMilliseconds = 500;
/** What a member may take until it has started for the first time, at least. */
const startMilliseconds = 10_000;
const lookMilliseconds = 500;
/** The primary is not gone back to at once: each time it fails again it has to wait twice as long. */
const holdMillisecondsMinimum = 2000;
const holdMillisecondsMaximum = 60_000;
/** A primary that has served so long is taken for well. */
const stableMilliseconds = 60_000;

interface Side {
  readonly member: FailoverMember;
  readonly pending: Set<(error: Error) => void>;
  away: { readonly reason: string } | undefined;
  progress: number;
  progressAt: number;
}

/**
 * Which of two members does the work. It goes to the primary; where that fails or does not answer
 * in time, to the secondary, what was under way included: a call is answered once, and what the
 * member that failed may still say is not heard. It goes back once the primary answers again.
 */
export class Failover {
  readonly #options: FailoverOptions;
  readonly #sides: Readonly<Record<MemberRole, Side>>;
  #active: MemberRole = 'primary';
  #switches = 0;
  #switchedAt: number | undefined;
  #backAt = Number.NEGATIVE_INFINITY;
  #holdUntil = 0;
  #hold = holdMillisecondsMinimum;
  #watch: NodeJS.Timeout | undefined;
  #watchedAt = 0;
  #looking: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: FailoverOptions) {
    this.#options = options;
    const side = (member: FailoverMember): Side => ({
      member,
      pending: new Set(),
      away: undefined,
      progress: 0,
      progressAt: 0,
    });
    const { primary, secondary } = options.members;
    this.#sides = { primary: side(primary), secondary: side(secondary) };
  }

  get active(): MemberRole {
    return this.#active;
  }

  /** How often the work went to the secondary, and when it last changed sides. */
  get counts(): { readonly failovers: number; readonly switchedAt: number | undefined } {
    return { failovers: this.#switches, switchedAt: this.#switchedAt };
  }

  /** Why a member is away, as far as calls and looks have told; undefined where it is not. */
  awayReason(role: MemberRole): string | undefined {
    return this.#sides[role].away?.reason;
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#watch);
    clearTimeout(this.#looking);
  }

  /** Does something that may be done again with the one that can. Errors: those of the work. */
  async run<Result>(work: (role: MemberRole) => Promise<Result>): Promise<Result> {
    const first = this.#active;
    try {
      return await this.#within(first, work);
    } catch (error) {
      if (!isAway(error)) throw error;
      if (!isKeyMissing(error)) this.#fail(first, error);
      return await this.#other(first, error, work);
    }
  }

  async #other<Result>(
    failed: MemberRole,
    cause: Error,
    work: (role: MemberRole) => Promise<Result>,
  ): Promise<Result> {
    const role = otherRole(failed);
    try {
      return await this.#within(role, work);
    } catch (error) {
      if (!isAway(error)) throw error;
      if (!isKeyMissing(error)) this.#fail(role, error);
      const { group } = this.#options;
      const why = this.#whyNeither(failed, isKeyMissing(cause), isKeyMissing(error));
      throw new KeyreeveError('keystore-unavailable', `The keystore group "${group}": ${why}`, {
        hint: `Look at both: keyreeve keystore show ${group}. The service goes on by itself.`,
        retryAfterSeconds: 1,
        cause,
      });
    }
  }

  #whyNeither(failed: MemberRole, isNotInFirst: boolean, isNotInSecond: boolean): string {
    if (isNotInFirst && isNotInSecond) return 'The key is in neither of its members.';
    if (!isNotInFirst && !isNotInSecond) return 'Neither of its members answers.';
    const holder = this.#sides[isNotInFirst ? otherRole(failed) : failed].member.name;
    return `The key is in "${holder}" alone, which does not answer.`;
  }

  /** Gives the member until it is found to answer nothing. */
  #within<Result>(role: MemberRole, work: (role: MemberRole) => Promise<Result>): Promise<Result> {
    const side = this.#sides[role];
    return new Promise((resolve, reject) => {
      const now = this.#options.clock.monotonic();
      if (side.pending.size === 0) side.progressAt = now;
      const settle = () => {
        side.pending.delete(give);
        side.progressAt = this.#options.clock.monotonic();
      };
      const give = (error: Error) => {
        side.pending.delete(give);
        reject(error);
      };
      side.pending.add(give);
      this.#startWatch(now);
      work(role).then(
        (result) => {
          settle();
          resolve(result);
        },
        (error) => {
          settle();
          reject(error);
        },
      );
    });
  }

  #startWatch(now: number): void {
    if (this.#watch !== undefined || this.#isStopped) return;
    this.#watchedAt = now;
    this.#watch = setInterval(() => this.#lookAtPending(), watchMilliseconds).unref();
  }

  #lookAtPending(): void {
    const now = this.#options.clock.monotonic();
    const isLate = now - this.#watchedAt > watchMilliseconds + lateMilliseconds;
    this.#watchedAt = now;
    for (const role of memberRoles) {
      const side = this.#sides[role];
      const progress = side.member.progress();
      if (isLate || progress !== side.progress) side.progressAt = now;
      side.progress = progress;
      const usual = this.#options.deadlineSeconds * 1000;
      const milliseconds = side.member.isStarting() ? Math.max(usual, startMilliseconds) : usual;
      if (side.pending.size === 0 || now - side.progressAt < milliseconds) continue;
      const error = silent(side.member.name, this.#options.deadlineSeconds);
      this.#fail(role, error);
      for (const give of [...side.pending]) give(error);
    }
    if (memberRoles.some((role) => this.#sides[role].pending.size > 0)) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  #fail(role: MemberRole, error: Error): void {
    const side = this.#sides[role];
    const reason = error.message;
    if (side.away === undefined) side.away = { reason };
    if (role === this.#active && this.#sides[otherRole(role)].away === undefined) {
      this.#switch(otherRole(role), reason);
    }
    this.#look();
  }

  #switch(to: MemberRole, reason: string): void {
    const { clock, onSwitch } = this.#options;
    const now = clock.monotonic();
    const from = this.#sides[this.#active].member.name;
    this.#active = to;
    this.#switchedAt = clock.now();
    if (to === 'primary') this.#backAt = now;
    else {
      this.#switches++;
      const isAgain = now - this.#backAt < stableMilliseconds;
      this.#hold = isAgain
        ? Math.min(this.#hold * 2, holdMillisecondsMaximum)
        : holdMillisecondsMinimum;
      this.#holdUntil = now + this.#hold;
    }
    onSwitch({ to, from, member: this.#sides[to].member.name, reason });
  }

  /** Looks after members that are away until they are back. */
  #look(): void {
    if (this.#looking !== undefined || this.#isStopped) return;
    this.#looking = setTimeout(async () => {
      await Promise.all(memberRoles.map((role) => this.#lookAfter(role)));
      this.#looking = undefined;
      if (memberRoles.some((role) => this.#sides[role].away !== undefined)) this.#look();
    }, lookMilliseconds).unref();
  }

  async #lookAfter(role: MemberRole): Promise<void> {
    const side = this.#sides[role];
    if (side.away === undefined) return;
    const health = await side.member.health().catch((error: Error) => ({
      ready: false,
      reason: error.message,
    }));
    if (this.#isStopped) return;
    const { clock } = this.#options;
    if (!health.ready) {
      side.away = { reason: health.reason ?? side.away.reason };
    } else if (role === 'secondary') {
      side.away = undefined;
      const { away } = this.#sides.primary;
      if (away !== undefined && this.#active === 'primary') this.#switch('secondary', away.reason);
    } else if (this.#active === 'primary' || clock.monotonic() >= this.#holdUntil) {
      side.away = undefined;
      if (this.#active !== 'primary') this.#switch('primary', 'it answers again');
    }
  }
}

export function otherRole(role: MemberRole): MemberRole {
  return role === 'primary' ? 'secondary' : 'primary';
}

/** A key that is not in a member, or not any more. */
export class KeyMissingError extends KeyreeveError {
  constructor(keystore: string, cause: unknown) {
    super('keystore-unavailable', `The key is not in the keystore "${keystore}".`, { cause });
  }
}

function isKeyMissing(error: unknown): boolean {
  return error instanceof KeyMissingError;
}

/** Whether the member could not be asked, whatever the question: then the other one is. */
function isAway(error: unknown): error is Error {
  return (
    isKeyreeveError(error, 'keystore-unavailable') ||
    isKeyreeveError(error, 'wrong-passphrase') ||
    isKeyreeveError(error, 'config-invalid') ||
    isKeyreeveError(error, 'lax-mode')
  );
}

function silent(keystore: string, seconds: number): KeyreeveError {
  return new KeyreeveError(
    'keystore-unavailable',
    `The keystore "${keystore}" has answered nothing for ${seconds} s.`,
    { hint: 'Look at the token and its module.', retryAfterSeconds: 1 },
  );
}
