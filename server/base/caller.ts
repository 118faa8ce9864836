import type { Action } from '../../api/actions.ts';
import type { DualControl } from '../../api/fields.ts';
import type { RouteId } from '../../api/routes.ts';

/**
 * What a credential rests on. Made and read by `access` alone; others hand it on with the caller.
 */
export interface Standing {
  /** The rights of those above the credential: each of these must be allowed an act too. */
  readonly bounds: readonly Bound[];
  /** The principals the credential rests on, as they were read. */
  readonly principals: readonly { readonly id: string; readonly revision: number }[];
  /** The version of the access rules that was in force. */
  readonly rulesVersion: number;
  /** For a call by client certificate: what has to stay as it is. */
  readonly certificate?: CertificateStanding;
}

export interface CertificateStanding {
  /** What ties the certificate to its principal. */
  readonly bindingId: string;
  /** The certificate itself, and those of the CAs above it. */
  readonly certificateIds: readonly string[];
  /** The CAs above it, each with the version of its key that signed. */
  readonly authorities: readonly { readonly caId: string; readonly version: number }[];
}

export interface Bound {
  readonly principalId: string;
  readonly roles: readonly string[];
}

/** Who calls, as found out by `access`: what authorisation and the record need to know. */
export interface Caller {
  readonly principalId: string;
  readonly principalName: string;
  /** The roles in force for this call: those of the principal, narrowed by the token. */
  readonly roles: readonly string[];
  /** The token or certificate that the call came with. */
  readonly credentialId: string;
  /** Folders that the token is narrowed to; undefined where it is not. */
  readonly folders: readonly string[] | undefined;
  readonly address: string;
  readonly agent: string;
  readonly correlationId: string;
  /** The epoch under which the credential was found valid. */
  readonly epoch: number;
  /** Without it, `access` allows nothing. */
  readonly standing?: Standing;
  /** Told of each commit of the call that looked at the caller's rights; set by the door. */
  readonly settle?: (settled: Settled) => void;
  /** The request of a command: what others may have to approve. One object for one request. */
  readonly request?: CommandRequest;
}

/** A commit that the answer of a call rests on. */
export interface Settled {
  readonly epoch: number;
  /** Milliseconds since it was begun: the rights stood after that. */
  age(): number;
}

/** A command as it was asked for, validated: what approvers see, and what runs. */
export interface CommandRequest {
  readonly route: RouteId;
  readonly params: unknown;
  readonly body: unknown;
  /** The approval that the caller means; found by the request itself where left out. */
  readonly approvalId?: string | undefined;
  /** Why it cannot wait for the ordinary approvals. */
  readonly breakGlass?: string | undefined;
}

/** What an action is asked of: typed facts that the access rules look at, never string paths. */
export type Resource =
  | {
      readonly type: 'key';
      readonly id: string;
      readonly name: string;
      readonly folder: string;
      readonly purpose: string;
      readonly ownerId: string;
      readonly labels: Readonly<Record<string, string>>;
      /** Of a key that is there: every change raises it. */
      readonly revision?: number;
      /** Where its versions lie, or the first one will. */
      readonly keystores?: readonly string[];
      /** What its own policy puts under dual control. */
      readonly dualControl?: DualControl;
    }
  | { readonly type: 'folder'; readonly folder: string }
  | { readonly type: 'principal'; readonly id: string }
  | { readonly type: 'token'; readonly id: string; readonly principalId: string }
  | { readonly type: 'system' };

/** Decides from what is in memory; throws `forbidden`, naming the action and what it lacks. */
export type Authorise = (caller: Caller, action: Action, resource: Resource) => void;
