import type { EntryDraft } from '../../api/entry.ts';
import type { Caller } from '../base/caller.ts';
import type { Step } from '../storage/storage.ts';
import type { Command } from './command.ts';

/** What the approvers of a command allow: written by the first commit of the command. */
export interface Approved {
  readonly steps: readonly Step[];
  readonly entries: readonly EntryDraft[];
  /** Checked by every commit of the command: what it is done to is what was looked at. */
  readonly held: readonly Step[];
  /** Called when that commit was made. */
  settled(): void;
}

/** The part of a command that approvals look at. */
export type GatedCommand = Pick<
  Command<unknown>,
  'action' | 'resource' | 'also' | 'binds' | 'input'
>;

/**
 * Holds a command that others have to approve: throws `approval-pending` until they have. Nothing
 * is answered for what needs no approval.
 */
export type Gate = (caller: Caller, command: GatedCommand) => Promise<Approved | undefined>;

/** What goes into the first commit of a command. */
export type First = Pick<Approved, 'steps' | 'entries'>;

const nothing: First = { steps: [], entries: [] };

/** An approval on its way into the first commit of a command, whichever that is. */
export class Consumption {
  #approved: Approved | undefined;
  #isWritten = false;

  begin(approved: Approved | undefined): void {
    this.#approved = approved;
  }

  /**
   * What goes into the commit that is about to be made; nothing after the first one that was. It
   * can be written once: where two commits carry it, the second is refused.
   */
  take(): First {
    const approved = this.#approved;
    if (approved === undefined) return nothing;
    const { held, steps, entries } = approved;
    return this.#isWritten ? { steps: held, entries: [] } : { steps: [...held, ...steps], entries };
  }

  written(): void {
    if (!this.#isWritten) this.#approved?.settled();
    this.#isWritten = true;
  }
}
