import { assuranceLevels, meetsAssurance } from '../../api/assurance.ts';
import type { Policy, PolicyRequest } from '../../api/fields.ts';
import { isHardware, type KeystoreKind } from '../../api/storage-classes.ts';
import { KeyreeveError } from '../base/errors.ts';

/**
 * The policy of a new key: what was left out follows from the kind of its keystore. No backup holds
 * a key that never leaves its device, nor one whose export is locked. Error: `invalid-policy`.
 */
export function settlePolicy(asked: PolicyRequest, kind: KeystoreKind): Policy {
  const exportLocked = asked.exportLocked ?? isHardware(kind);
  const recovery = asked.recovery ?? (exportLocked || isHardware(kind) ? 'none' : 'replica');
  if (recovery === 'replica' && isHardware(kind)) {
    throw new KeyreeveError(
      'invalid-policy',
      'No backup holds a key that never leaves its device: its recovery is "none".',
      { hint: 'Leave the recovery out. What brings the key back is a copy of the device.' },
    );
  }
  refuseLockedReplica(exportLocked, recovery);
  return { ...withDualControl(asked, asked.dualControl), exportLocked, recovery };
}

/**
 * The policy of a key after a change: it may become stricter. What is left out of what was fixed or
 * locked stays as it is. Error: `invalid-policy`.
 */
export function changedPolicy(before: Policy, asked: PolicyRequest): Policy {
  const recovery = asked.recovery ?? before.recovery;
  if (recovery !== before.recovery) {
    throw new KeyreeveError('invalid-policy', 'The recovery kind is fixed at creation.', {
      hint: `Leave it at "${before.recovery}", or make another key.`,
    });
  }
  if (asked.storage !== before.storage) {
    throw new KeyreeveError('invalid-policy', 'The storage class is fixed at creation.', {
      hint: `Leave it at "${before.storage ?? 'none'}", or make another key.`,
    });
  }
  // Keys made before there was a lock have none.
  const wasLocked = before.exportLocked ?? false;
  const exportLocked = asked.exportLocked ?? wasLocked;
  if (wasLocked && !exportLocked) {
    throw new KeyreeveError('invalid-policy', 'The export lock of a key is never opened again.', {
      hint: 'Make another key, with the lock open from the start.',
    });
  }
  refuseLockedReplica(exportLocked, recovery);
  const assurance = asked.assurance ?? before.assurance;
  if (before.assurance !== undefined && !meetsAssurance(assurance ?? 'none', before.assurance)) {
    throw new KeyreeveError(
      'invalid-policy',
      `The demand for ${assuranceLevels[before.assurance].title} can be raised, not lowered.`,
      { hint: `Leave it at "${before.assurance}", or make another key.` },
    );
  }
  // Never dropped by leaving it out: those who approve the change see that it ends.
  const dualControl = asked.dualControl === undefined ? before.dualControl : asked.dualControl;
  return {
    ...withDualControl(asked, dualControl),
    recovery,
    exportLocked,
    ...(assurance === undefined ? {} : { assurance }),
  };
}

function withDualControl(
  { dualControl: _, ...asked }: PolicyRequest,
  dualControl: PolicyRequest['dualControl'],
): PolicyRequest {
  return dualControl == null ? asked : { ...asked, dualControl };
}

function refuseLockedReplica(exportLocked: boolean, recovery: Policy['recovery']): void {
  if (!exportLocked || recovery === 'none') return;
  throw new KeyreeveError(
    'invalid-policy',
    'Backups hold a key of recovery "replica": that is an export, which the lock forbids.',
    { hint: 'Take the recovery "none" (fixed at creation), or leave the lock open.' },
  );
}
