import type { Action } from '../../api/actions.ts';
import type { EntryDraft, EntryField } from '../../api/entry.ts';
import type { Resource } from '../base/caller.ts';
import type { Json } from '../base/canonical-json.ts';
import type { OutboxDraft, Step } from '../storage/storage.ts';

/** The fields by which an entry says what it is about. */
export type About = { readonly [field in EntryField]?: string };

/** What a command wants to be done, all at once, and what is answered when it is. */
export interface Outcome<Result> {
  readonly result: Result;
  readonly steps: readonly Step[];
  readonly about?: About;
  readonly outbox?: readonly OutboxDraft[];
  /** Entries beside the outcome. */
  readonly entries?: readonly EntryDraft[];
}

/** An act that leaves something outside the database says so first: what, and whose it is. */
export interface Intent {
  readonly kind: string;
  readonly payload: Json;
}

export interface Command<Result> {
  readonly action: Action;
  readonly resource: Resource;
  /** What the command is about, for the entry of a refusal too. */
  readonly about?: About;
  /** What else it does, and to what: approval rules look at each. */
  readonly also?: readonly { readonly action: Action; readonly resource: Resource }[];
  /** What else the command rests on (revisions), where the resource does not tell. */
  readonly binds?: Json;
  /** The plain data of the request: with the route, what an idempotency key stands for. */
  readonly input: Json;
  readonly idempotencyKey?: string | undefined;
  readonly intent?: Intent;
  /** False where the change is of no matter to caches. */
  readonly raisesEpoch?: boolean;
  /**
   * Does what has to be done outside, and says what to write. Nothing is changed before. What is
   * known only on the way (the bytes that are about to be signed) is intended on the way.
   */
  act(intend: Intend): Promise<Outcome<Result>>;
  /** Takes back what `act` left outside, where the write was refused. */
  undo?(): Promise<void>;
}

/**
 * Records an intent in the middle of an act, before the step it announces; the steps, which check
 * what the act rests on, are part of the same write. Settled by the write of the outcome.
 */
export type Intend = (intent: Intent, about?: About, steps?: readonly Step[]) => Promise<void>;
