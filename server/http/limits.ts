/** Every limit of the HTTP layer, with its unit last. */
export const defaultLimits = {
  /** One call with one input: `dataBytesMax` in base64 and the rest of the request. */
  bodyBytesMax: 2 * 1024 * 1024,
  batchBodyBytesMax: 4 * 1024 * 1024,
  /** Of a request without a token: a login code and what is around it. */
  visitorBodyBytesMax: 4 * 1024,
  headerBytesMax: 16 * 1024,
  /** Bodies of all requests under way together. */
  bodyBytesInFlightMax: 256 * 1024 * 1024,
  requestsInFlightMax: 1000,
  connectionsMax: 2000,
  handshakeTimeoutSeconds: 10,
  headersTimeoutSeconds: 10,
  /** For a whole request to arrive. */
  requestTimeoutSeconds: 60,
  keepAliveTimeoutSeconds: 75,
  /** A connection on which nothing moves, a request under way or not. */
  silenceTimeoutSeconds: 900,
  /** How often slow requests are looked for. */
  timeoutCheckSeconds: 2,
  /**
   * Connections are kept so long at a stop for the request that may be on its way, which is answered
   * as the last one; those that are idle for longer are closed.
   */
  drainSeconds: 0.3,
  /** What is under way at a stop gets this long to end. */
  closeTimeoutSeconds: 20,
  /** Requests without a token, by address (IPv6: by /64). */
  visitorRequestsPerSecond: 20,
  visitorBurstRequests: 100,
  visitorAddressesMax: 10_000,
  /** A request that took longer is logged. */
  slowRequestSeconds: 5,
} as const;

export type HttpLimits = { readonly [Name in keyof typeof defaultLimits]: number };

export const bearerLengthMax = 4096;
export const agentLengthMax = 200;
export const correlationIdLengthMax = 100;
export const idempotencyKeyLengthMax = 255;
export const parameterLengthMax = 1024;
export const listedFieldsMax = 20;
