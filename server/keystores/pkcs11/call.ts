import { type CommandName, commands } from './protocol.ts';

const firstGuessMilliseconds = { use: 1, other: 1000 } as const;
const averageShare = 0.05;
/** After so many answers the average is taken for what is usual. */
const usualFromAnswers = 20;
/** A use that takes so many times as long as usual hangs. */
const usualTimes = 50;

/** How long answers to one kind of call take: learnt from the answers, for planning. */
export class Cost {
  #milliseconds: number;
  #answers = 0;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  get milliseconds(): number {
    return this.#milliseconds;
  }

  /** What is still usual; undefined while too little is known. */
  get longestUsualMilliseconds(): number | undefined {
    return this.#answers < usualFromAnswers ? undefined : this.#milliseconds * usualTimes;
  }

  learn(milliseconds: number): void {
    this.#answers++;
    const share = Math.max(averageShare, 1 / this.#answers);
    this.#milliseconds += (milliseconds - this.#milliseconds) * share;
  }
}

export function firstCost(command: CommandName): Cost {
  return new Cost(firstGuessMilliseconds[commands[command].isUse ? 'use' : 'other']);
}

export interface Answer {
  readonly head: Buffer;
  /** Views into a larger buffer. */
  readonly items: readonly Buffer[];
}

/** One call of the module, from the asking to the answer. Settled exactly once. */
export interface Call {
  readonly command: CommandName;
  readonly head: Buffer;
  readonly items: readonly Uint8Array[];
  readonly cost: Cost;
  /** Monotonic milliseconds at which the caller began to wait. */
  readonly since: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  /** Children that ended while they were at it. */
  attempts: number;
}

/** What the call is expected to take. */
export function expectedMilliseconds(call: Call): number {
  return call.cost.milliseconds * Math.max(1, call.items.length);
}

export interface CallLimits {
  /** The longest that one signature or decryption may take. */
  readonly useSeconds: number;
  /** Where it is known what is usual: no deadline is shorter. */
  readonly useSecondsMinimum: number;
  /** The longest that anything else may take: making an RSA key takes minutes in some tokens. */
  readonly otherSeconds: number;
  /** The longest that a call waits for its turn. */
  readonly waitSeconds: number;
  readonly startSeconds: number;
}

export const callLimits: CallLimits = {
  useSeconds: 10,
  useSecondsMinimum: 1.5,
  otherSeconds: 120,
  waitSeconds: 15,
  startSeconds: 30,
};

/** How long the child may take for it before it counts as hanging. */
export function deadlineMilliseconds(call: Call, limits: CallLimits): number {
  if (call.command === 'start') return limits.startSeconds * 1000;
  if (!commands[call.command].isUse) return limits.otherSeconds * 1000;
  const most = limits.useSeconds * 1000;
  const usual = call.cost.longestUsualMilliseconds ?? most;
  const one = Math.min(most, Math.max(limits.useSecondsMinimum * 1000, usual));
  // Several items: those behind the first take what is usual.
  return one + Math.min(most, usual) * Math.max(0, call.items.length - 1);
}
