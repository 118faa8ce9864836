/** What is read at most. SLH-DSA signatures have up to 50 KB, hash-based keys next to nothing. */
export const certificateBytesMaximum = 128 * 1024;
export const requestBytesMaximum = 128 * 1024;
/** A request in base64 or PEM, with what may stand around it. */
export const requestTextLengthMaximum = 4 * requestBytesMaximum;
/** About 1.5 million entries. */
export const crlBytesMaximum = 64 * 1024 * 1024;
export const crlEntriesMaximum = 2_000_000;
export const nameBytesMaximum = 16 * 1024;
export const nameTextLengthMaximum = 4096;
export const extensionBytesMaximum = 64 * 1024;
export const extensionsMaximum = 64;
/** Names in one extension. */
export const generalNamesMaximum = 1000;
export const pemLengthMaximum = 64 * 1024 * 1024;
export const pemBlocksMaximum = 100_000;
/** RFC 5280, section 4.1.2.2. */
export const serialBytesMaximum = 20;
/** CRL numbers too have 20 bytes at most (section 5.2.3). */
export const crlNumberBytesMaximum = 20;
