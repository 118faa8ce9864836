/** Reasons of revocation with their codes: CRLReason of RFC 5280, section 5.3.1. */
export const revocationReasons = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  // On hold: the one reason that can be taken back.
  certificateHold: 6,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;

export type RevocationReason = keyof typeof revocationReasons;
export const revocationReasonNames = Object.keys(revocationReasons) as [
  RevocationReason,
  ...RevocationReason[],
];
